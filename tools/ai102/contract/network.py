"""A network of models.toml: its source, inputs and outputs, accuracy and latency goals."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from ai102.contract import tasks
from ai102.contract.serving import Batching, Instances, LatencyGoal, Versions, Warmup
from ai102.contract.table import Name, Table
from ai102.contract.tables import Budget, Engine, ImageOptions, Precision, Recipe, Tensor, TensorRTOptions, TextOptions
from ai102.contract.tasks import Task

LEAST_MEGAPIXELS, MOST_TIMES_NEEDED = 4.0, 16
# Parameters that every network's config gets; each has its own key in models.toml.
OWN_PARAMETERS = {"intra_op_thread_count": "instances.threads", "refuse_nonfinite": "allow_nonfinite"}


class Network(Table):
    """One network: its source, inputs and outputs, accuracy and latency goals."""

    source: str = Field(pattern=r"^[a-z]+:.+$", examples=['"hf:sentence-transformers/all-MiniLM-L6-v2"'])
    # Opening a pickle can run arbitrary code: set this only for trusted sources.
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
    response_cache: bool = Field(False, examples=["true"])  # needs server.response_cache_mb
    parameters: dict[str, str] = Field(
        {}, examples=['{ execution_mode = "1" }']
    )  # passed to Triton's backend unchanged
    # What computes it on a CPU: the one that the build measured to be the fastest, or always the same.
    engine: Engine = Field("fastest", examples=['"openvino"'])
    # None: the result of the search (calibration/recipes), or the default Recipe without a search.
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
                "tensorrt.cuda_graphs is true but there is no warmup: a graph is captured for each warm-up shape; "
                "write warmup = { batch_sizes = [1, 8] }"
            )
        if own := [key for key in self.parameters if key in OWN_PARAMETERS]:
            raise ValueError(f"parameters holds {own[0]}, which follows from {OWN_PARAMETERS[own[0]]}: set that")
        if self.calibration_set and self.budget is None:
            raise ValueError(
                f'calibration_set is "{self.calibration_set}" but there is no budget: INT8 would be served '
                f"without an accuracy check; write budget = {tasks.budget_example(self.task)}"
            )
        if self.budget and not self.calibration_set:
            raise ValueError("budget is set but there is no calibration_set to make INT8 with; name a set or drop it")
        return self

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """The precisions that are built: FP32 always, INT8 if there is calibration data."""
        return ("fp32", "int8") if self.calibration_set else ("fp32",)

    @property
    def max_warm_batch(self) -> int:
        """The largest batch of a warm-up; 1 without a batch dimension."""
        return max(1, self.batching.max_batch_size)

    @property
    def max_megapixels(self) -> float:
        """The largest image that is decoded: 16 times the pixels that the network needs, at least 4 million.

        Decoding takes up to 20 ms of CPU time per million pixels, independent of the network's input size.
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
