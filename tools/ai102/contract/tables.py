"""The tables of models.toml as frozen objects that check themselves when made."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from ai102.contract import tasks
from ai102.contract.serving import Batching, Instances, LatencyGoal, Versions, Warmup
from ai102.contract.table import Name, Positive, Table
from ai102.contract.tasks import Task

# Triton's names for data types, as its HTTP and gRPC protocols spell them.
TensorType = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "BF16", "FP32", "FP64", "BYTES",
]  # fmt: skip
Precision = Literal["fp32", "int8"]
# A network's tensors keep the names of its file, which may hold dots, colons and slashes.
TensorName = Annotated[str, StringConstraints(pattern=r"^[^\s\"\\]+$")]
Dim = Annotated[int, Field(ge=-1)]
Method = Literal["minmax", "percentile", "entropy"]
# A layer's path in the PyTorch module, or its node's name, with * and ? as in file names.
LayerPattern = Annotated[str, StringConstraints(min_length=1)]


class Tensor(Table):
    """One input or output, without the batch dimension. -1 is a dimension that varies; no dims: one value."""

    name: TensorName = Field(examples=['"pixels"'])
    type: TensorType = Field(examples=['"FP32"'])
    dims: tuple[Dim, ...] = Field(examples=["[3, 224, 224]"])
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
    min_token_agreement_percent: float | None = Field(None, ge=0, le=100, examples=["99"])  # of FP32's best labels


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


LEAST_MEGAPIXELS, MOST_TIMES_NEEDED = 4.0, 16


class ImageOptions(Table):
    """How an encoded image becomes the network's pixels."""

    # The shorter side is scaled to this and the middle cut out; None: the whole image is scaled to the network's size.
    shortest_edge: Positive | None = Field(None, examples=["256"])
    resample: Literal["bilinear", "bicubic", "box", "nearest", "lanczos"] = Field("bilinear", examples=['"bilinear"'])
    # The largest image that is decoded; None: what follows from the network's size, Network.max_megapixels.
    max_megapixels: float | None = Field(None, gt=0, examples=["12.0"])
    # Where pixels travel as FP32: (pixel / 255 - mean) / std of each channel. UINT8 pixels travel as they are.
    mean: tuple[float, ...] = Field((), examples=["[0.485, 0.456, 0.406]"])
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field((), examples=["[0.229, 0.224, 0.225]"])

    @model_validator(mode="after")
    def _mean_and_std_agree(self) -> Self:
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} entries and std {len(self.std)}: write one a channel in both")
        return self


class TextOptions(Table):
    """How a text becomes tokens: padded to the shortest of `lengths` that holds it, cut at the longest."""

    lengths: tuple[Positive, ...] = Field(min_length=1, examples=["[16, 32, 64, 128]"])
    max_bytes: int = Field(4_000_000, ge=1, examples=["4000000"])
    pad_id: int | None = Field(None, ge=0, examples=["0"])  # None: what tokenizer.json says, or 0

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
    cuda_graphs: bool = Field(False, examples=["true"])  # one for each batch size and padded length of the warm-up


# Written by us for every network; each has a key of its own in models.toml.
OWN_PARAMETERS = {"intra_op_thread_count": "instances.threads", "refuse_nonfinite": "allow_nonfinite"}


class Network(Table):
    """One network: where it comes from, what goes in and out, and what it must reach."""

    source: str = Field(pattern=r"^[a-z]+:.+$", examples=['"hf:sentence-transformers/all-MiniLM-L6-v2"'])
    # A pickle runs code of its author's when it is opened: only with this, and only from a source that is trusted.
    allow_pickle: bool = Field(False, examples=["false"])
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
    versions: Versions = Field(Versions(), examples=["{ keep = 2 }"])
    warmup: Warmup | None = Field(None, examples=["{ batch_sizes = [1, 8] }"])
    response_cache: bool = Field(False, examples=["true"])  # needs `tritonserver --cache-config`
    parameters: dict[str, str] = Field({}, examples=['{ execution_mode = "1" }'])  # for Triton's backend, as they are
    # None: what the search found (calibration/recipes), or the default Recipe where it never ran.
    quantization: Recipe | None = Field(None, examples=["{}"])
    tensorrt: TensorRTOptions = Field(TensorRTOptions(), examples=["{ opt_batch_size = 8 }"])
    allow_nonfinite: bool = Field(False, examples=["false"])

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        tasks.check(self)
        if (self.tensorrt.opt_batch_size or 0) > self.batching.max_batch_size:
            raise ValueError(
                f"tensorrt.opt_batch_size is {self.tensorrt.opt_batch_size} but batching.max_batch_size is "
                f"{self.batching.max_batch_size}: write at most that"
            )
        too_big = [size for size in (self.warmup.batch_sizes if self.warmup else ()) if size > self.max_warm_batch]
        if too_big:
            raise ValueError(
                f"warmup.batch_sizes holds {too_big[0]} but the largest batch is {self.max_warm_batch}: "
                "write at most that"
            )
        if self.tensorrt.cuda_graphs and self.warmup is None:
            raise ValueError(
                "tensorrt.cuda_graphs is true but there is no warmup: a graph is caught for each shape of it; "
                "write warmup = { batch_sizes = [1, 8] }"
            )
        if own := [key for key in self.parameters if key in OWN_PARAMETERS]:
            raise ValueError(f"parameters holds {own[0]}, which follows from {OWN_PARAMETERS[own[0]]}: set that")
        if self.calibration_set and self.budget is None:
            raise ValueError(
                f'calibration_set is "{self.calibration_set}" but there is no budget: INT8 would be served unjudged; '
                f"write budget = {tasks.budget_example(self.task)}"
            )
        if self.budget and not self.calibration_set:
            raise ValueError("budget is set but there is no calibration_set to make INT8 with; name a set or drop it")
        return self

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """What is built: FP32 always, INT8 where there is data to calibrate it."""
        return ("fp32", "int8") if self.calibration_set else ("fp32",)

    @property
    def max_warm_batch(self) -> int:
        """The largest request a warm-up may send; one without a batch dimension counts as one."""
        return max(1, self.batching.max_batch_size)

    @property
    def max_megapixels(self) -> float:
        """The largest image that is decoded: 16 times the pixels that the network needs, and at least 4 million.

        Decoding costs up to 20 ms a million pixels of one CPU, whatever the size of the network.
        """
        if self.image.max_megapixels is not None:
            return self.image.max_megapixels
        height, width, _ = self.image_size
        needed = max(height * width, (self.image.shortest_edge or 0) ** 2)
        return max(LEAST_MEGAPIXELS, MOST_TIMES_NEEDED * needed / 1e6)

    @property
    def image_size(self) -> tuple[int, int, int]:
        """(height, width, channels) of the pixels an image network takes."""
        dims = self.inputs[0].dims
        return (dims[1], dims[2], dims[0]) if self.inputs[0].layout == "NCHW" else (dims[0], dims[1], dims[2])
