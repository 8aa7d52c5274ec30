"""The tables of models.toml as frozen objects that check themselves when made."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

# Triton's names for data types, as its HTTP and gRPC protocols spell them.
TensorType = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "BF16", "FP32", "FP64", "BYTES",
]  # fmt: skip
Task = Literal["image-classification", "text-embedding"]
Precision = Literal["fp32", "int8"]
# Letters, digits and _ only: a name becomes a folder, a Python keyword-free identifier and a metric label.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Dim = Annotated[int, Field(ge=-1)]
Positive = Annotated[int, Field(ge=1)]
Method = Literal["minmax", "percentile", "entropy"]
# A layer's path in the PyTorch module, or its node's name, with * and ? as in file names.
LayerPattern = Annotated[str, StringConstraints(min_length=1)]


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tensor(Table):
    """One input or output, without the batch dimension. -1 is a dimension that varies."""

    name: Name = Field(examples=['"pixels"'])
    type: TensorType = Field(examples=['"FP32"'])
    dims: tuple[Dim, ...] = Field(min_length=1, examples=["[3, 224, 224]"])
    layout: Literal["NCHW", "NHWC"] | None = Field(None, examples=['"NCHW"'])

    @model_validator(mode="after")
    def _layout_fits(self) -> Self:
        if 0 in self.dims:
            raise ValueError("dims holds a 0: nothing would fit in; write the size, or -1 where it varies")
        if self.layout and len(self.dims) != 3:
            raise ValueError(f'layout is "{self.layout}" but dims has {len(self.dims)} entries: an image has 3')
        return self


class Budget(Table):
    """How much accuracy the INT8 network may lose; over it, nothing is served."""

    min_top1_percent: float | None = Field(None, ge=0, le=100, examples=["98.5"])
    max_top1_drop_points: float | None = Field(None, ge=0, le=100, examples=["0.5"])
    min_mean_cosine: float | None = Field(None, ge=0, le=1, examples=["0.99"])
    min_cosine: float | None = Field(None, ge=0, le=1, examples=["0.98"])  # of the worst sample
    min_nearest_neighbour_percent: float | None = Field(None, ge=0, le=100, examples=["93"])

    @property
    def bounds_embeddings(self) -> bool:
        """Whether a bound is set that only embeddings have."""
        return (self.min_mean_cosine, self.min_cosine, self.min_nearest_neighbour_percent) != (None, None, None)

    @property
    def bounds_labels(self) -> bool:
        """Whether a bound is set that only a classifier has."""
        return (self.min_top1_percent, self.max_top1_drop_points) != (None, None)


class LatencyGoal(Table):
    p99_ms: float = Field(gt=0, examples=["50.0"])


class Batching(Table):
    """Triton's dynamic batching; max_batch_size 0 turns the batch dimension off."""

    max_batch_size: int = Field(ge=0, examples=["32"])
    max_queue_delay_us: int = Field(0, ge=0, examples=["500"])
    preferred_batch_sizes: tuple[Positive, ...] = Field((), examples=["[8, 16]"])

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.max_batch_size == 0 and self.max_queue_delay_us:
            raise ValueError(
                f"max_batch_size is 0 but max_queue_delay_us is {self.max_queue_delay_us}: "
                "nothing would ever wait; set a batch size or drop the delay"
            )
        if too_big := [size for size in self.preferred_batch_sizes if size > self.max_batch_size]:
            raise ValueError(
                f"preferred_batch_sizes holds {too_big[0]} but max_batch_size is {self.max_batch_size}: "
                "no batch would ever reach it; raise the one or drop the other"
            )
        return self


class Instances(Table):
    """How many copies of the network run at once, and on how many threads each."""

    count: int = Field(1, ge=1, examples=["1"])
    threads: int = Field(1, ge=1, examples=["1"])


class Recipe(Table):
    """How INT8 is made. The default quantizes every layer that has weights, by the extreme values seen."""

    method: Method = Field("minmax", examples=['"minmax"'])
    percentile: float | None = Field(None, gt=50, lt=100, examples=["99.999"])
    # SmoothQuant's alpha: how much of an activation's outliers moves into the weights that meet it.
    smoothing: float | None = Field(None, ge=0, le=1, examples=["0.8"])
    keep_float: tuple[LayerPattern, ...] = Field((), examples=['["*.output.dense"]'])

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if (self.method == "percentile") != (self.percentile is not None):
            advice = 'write method = "percentile" or drop it' if self.percentile else "write percentile = 99.999"
            raise ValueError(f'method is "{self.method}" and percentile is {self.percentile or "not set"}: {advice}')
        if self.smoothing is not None and self.method != "minmax":
            raise ValueError(
                f'smoothing is {self.smoothing} but method is "{self.method}": smoothed ranges follow from each '
                'channel\'s smallest and largest value; write method = "minmax" or drop smoothing'
            )
        return self


class ImageOptions(Table):
    """How an encoded image becomes the network's pixels."""

    resample: Literal["bilinear", "bicubic", "box", "nearest", "lanczos"] = Field("bilinear", examples=['"bilinear"'])
    max_megapixels: float = Field(50.0, gt=0, examples=["50.0"])


class TextOptions(Table):
    """How a text becomes tokens: padded to the shortest of `lengths` that holds it, cut at the longest."""

    lengths: tuple[Positive, ...] = Field(min_length=1, examples=["[16, 32, 64, 128]"])
    max_bytes: int = Field(4_000_000, ge=1, examples=["4000000"])

    @model_validator(mode="after")
    def _lengths_rise(self) -> Self:
        if list(self.lengths) != sorted(set(self.lengths)):
            raise ValueError(f"lengths is {list(self.lengths)}: write each length once, the shortest first")
        return self


class TensorRTOptions(Table):
    """How TensorRT builds the plan; what a plan is tied to is widened here."""

    opt_batch_size: Positive | None = Field(None, examples=["8"])  # the batch it is tuned for; None: the largest
    workspace_mb: Positive = Field(2048, examples=["2048"])
    optimization_level: int = Field(3, ge=0, le=5, examples=["3"])
    float_precision: Literal["fp32", "fp16"] = Field("fp16", examples=['"fp16"'])  # of all that is not INT8
    hardware_compatibility: Literal["none", "ampere_plus", "same_compute_capability"] = Field(
        "none", examples=['"none"']
    )
    version_compatible: bool = Field(False, examples=["false"])


class Network(Table):
    """One network: where it comes from, what goes in and out, and what it must reach."""

    source: str = Field(pattern=r"^[a-z]+:.+$", examples=['"hf:sentence-transformers/all-MiniLM-L6-v2"'])
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", examples=['"<64 hex digits>" of the weights file'])
    task: Task = Field(examples=['"image-classification"'])
    inputs: tuple[Tensor, ...] = Field(
        min_length=1, examples=['[{ name = "pixels", type = "UINT8", dims = [3, 224, 224], layout = "NCHW" }]']
    )
    outputs: tuple[Tensor, ...] = Field(min_length=1, examples=['[{ name = "scores", type = "FP32", dims = [10] }]'])
    labels: tuple[str, ...] = Field((), examples=['["cat", "dog"]'])
    image: ImageOptions = Field(ImageOptions(), examples=['{ resample = "bilinear" }'])
    text: TextOptions | None = Field(None, examples=["{ lengths = [16, 32, 64, 128] }"])
    calibration_set: Name | None = Field(None, examples=['"digits"'])
    budget: Budget | None = Field(None, examples=["{ max_top1_drop_points = 0.5 }"])
    latency_goal: LatencyGoal = Field(examples=["{ p99_ms = 50.0 }"])
    batching: Batching = Field(examples=["{ max_batch_size = 32, max_queue_delay_us = 500 }"])
    instances: Instances = Field(Instances(), examples=["{ count = 1, threads = 1 }"])
    # None: what the search found (calibration/recipes), or the default Recipe where it never ran.
    quantization: Recipe | None = Field(None, examples=["{}"])
    tensorrt: TensorRTOptions = Field(TensorRTOptions(), examples=["{ opt_batch_size = 8 }"])
    allow_nonfinite: bool = Field(False, examples=["false"])

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if self.batching.max_batch_size == 0:
            raise ValueError(
                "batching.max_batch_size is 0, but the exported network has a batch dimension: write 1 or more"
            )
        _TASK_RULES[self.task](self)
        if (self.tensorrt.opt_batch_size or 0) > self.batching.max_batch_size:
            raise ValueError(
                f"tensorrt.opt_batch_size is {self.tensorrt.opt_batch_size} but batching.max_batch_size is "
                f"{self.batching.max_batch_size}: write at most that"
            )
        if self.calibration_set and self.budget is None:
            raise ValueError(
                f'calibration_set is "{self.calibration_set}" but there is no budget: INT8 would be served unjudged; '
                f"write budget = {_BUDGET_EXAMPLES[self.task]}"
            )
        if self.budget and not self.calibration_set:
            raise ValueError("budget is set but there is no calibration_set to make INT8 with; name a set or drop it")
        return self

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """What is built: FP32 always, INT8 where there is data to calibrate it."""
        return ("fp32", "int8") if self.calibration_set else ("fp32",)

    @property
    def image_size(self) -> tuple[int, int, int]:
        """(height, width, channels) of the pixels an image network takes."""
        dims = self.inputs[0].dims
        return (dims[1], dims[2], dims[0]) if self.inputs[0].layout == "NCHW" else (dims[0], dims[1], dims[2])


def _check_image_classification(net: Network) -> None:
    if len(net.inputs) != 1 or net.inputs[0].type != "UINT8" or net.inputs[0].layout is None:
        raise ValueError(
            'inputs must be one image of type "UINT8" with a layout: write '
            '[{ name = "pixels", type = "UINT8", dims = [3, 224, 224], layout = "NCHW" }]'
        )
    if -1 in net.inputs[0].dims:
        raise ValueError(f"inputs[0].dims is {list(net.inputs[0].dims)}: write the fixed size images are scaled to")
    if net.image_size[2] not in (1, 3):
        raise ValueError(f"inputs[0].dims has {net.image_size[2]} channels: write 1 (grey) or 3 (RGB)")
    if len(net.outputs) != 1 or len(net.outputs[0].dims) != 1 or net.outputs[0].type != "FP32":
        raise ValueError('outputs must be one row of scores: write [{ name = "scores", type = "FP32", dims = [10] }]')
    if len(net.labels) != net.outputs[0].dims[0]:
        raise ValueError(
            f"labels has {len(net.labels)} entries but outputs[0].dims is {list(net.outputs[0].dims)}: "
            "write one label per score, in order"
        )
    if net.text is not None:
        raise ValueError("text is set but the task is image-classification: drop it")
    if net.budget and (net.budget.max_top1_drop_points is None or net.budget.bounds_embeddings):
        raise ValueError(f"budget must be in top-1 points: write budget = {_BUDGET_EXAMPLES[net.task]}")


def _check_text_embedding(net: Network) -> None:
    if net.text is None:
        raise ValueError("text is missing: write text = { lengths = [16, 32, 64, 128] }")
    if [(t.name, t.type, t.dims) for t in net.inputs] != [
        ("input_ids", "INT64", (-1,)),
        ("attention_mask", "INT64", (-1,)),
    ]:
        raise ValueError('inputs must be input_ids and attention_mask, both type = "INT64", dims = [-1]')
    if len(net.outputs) != 1 or len(net.outputs[0].dims) != 1 or net.outputs[0].type != "FP32":
        raise ValueError('outputs must be one vector: write [{ name = "embedding", type = "FP32", dims = [384] }]')
    if net.labels:
        raise ValueError("labels is set but the task is text-embedding: drop it")
    if net.budget and (net.budget.min_mean_cosine is None or net.budget.bounds_labels):
        raise ValueError(f"budget must be a cosine: write budget = {_BUDGET_EXAMPLES[net.task]}")


_TASK_RULES = {"image-classification": _check_image_classification, "text-embedding": _check_text_embedding}
_BUDGET_EXAMPLES = {
    "image-classification": "{ max_top1_drop_points = 0.5 }",
    "text-embedding": "{ min_mean_cosine = 0.99 }",
}


class Step(Table):
    """One model of an ensemble; maps are {the model's tensor: the ensemble's tensor}, same name where silent."""

    model: Name = Field(examples=['"digits_int8"'])
    inputs: dict[Name, Name] = Field({}, examples=['{ pixels = "pixels" }'])
    outputs: dict[Name, Name] = Field({}, examples=['{ scores = "scores" }'])

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value


class Ensemble(Table):
    """Models run in order, tensors handed on by name."""

    steps: tuple[Step, ...] = Field(min_length=1, examples=['["digits_decode", "digits_int8"]'])
    inputs: tuple[Name, ...] = Field(min_length=1, examples=['["image"]'])
    outputs: tuple[Name, ...] = Field(min_length=1, examples=['["label", "score"]'])
