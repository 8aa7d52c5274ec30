"""The tables inside a network of models.toml, as frozen objects that check themselves."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from ai102.contract.table import Positive, Table
from ai102_runtime.data_types import TypeName

Precision = Literal["fp32", "int8"]
Engine = Literal["fastest", "onnxruntime", "openvino"]
# A network's tensors keep the names of its file, which may hold dots, colons and slashes.
TensorName = Annotated[str, StringConstraints(pattern=r"^[^\s\"\\]+$")]
Dim = Annotated[int, Field(ge=-1)]
Method = Literal["minmax", "percentile", "entropy"]
# A layer's path in the PyTorch module, or its node's name, with * and ? as in file names.
LayerPattern = Annotated[str, StringConstraints(min_length=1)]


class Tensor(Table):
    """One input or output, without the batch dimension. A dim of -1 varies; no dims: a scalar."""

    name: TensorName = Field(examples=['"pixels"'])
    type: TypeName = Field(examples=['"FP32"'])
    dims: tuple[Dim, ...] = Field(examples=["[3, 224, 224]"])
    layout: Literal["NCHW", "NHWC"] | None = Field(None, examples=['"NCHW"'])

    @model_validator(mode="after")
    def _layout_fits(self) -> Self:
        if 0 in self.dims:
            raise ValueError("dims holds a 0: the tensor would be empty; write the size, or -1 where it varies")
        if self.layout and len(self.dims) != 3:
            raise ValueError(f'layout is "{self.layout}" but dims has {len(self.dims)} entries: an image has 3')
        return self


class Budget(Table):
    """How much accuracy the INT8 network may lose; over the budget it is not served."""

    min_top1_percent: float | None = Field(None, ge=0, le=100, examples=["98.5"])
    max_top1_drop_points: float | None = Field(None, ge=0, le=100, examples=["0.5"])
    min_mean_cosine: float | None = Field(None, ge=0, le=1, examples=["0.99"])
    min_cosine: float | None = Field(None, ge=0, le=1, examples=["0.98"])  # the smallest over all samples
    min_nearest_neighbour_percent: float | None = Field(None, ge=0, le=100, examples=["93"])
    min_token_agreement_percent: float | None = Field(
        None, ge=0, le=100, examples=["99"]
    )  # tokens whose best label is FP32's


class Recipe(Table):
    """How INT8 is built. By default every layer with weights is quantized, with min-max ranges."""

    method: Method = Field("minmax", examples=['"minmax"'])
    percentile: float | None = Field(None, gt=50, lt=100, examples=["99.999"])
    # SmoothQuant's alpha: how much of an activation's outliers moves into the weights it is multiplied by.
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

    # The shorter side is scaled to this, then the center is cropped; None: the image is scaled to the network's size.
    shortest_edge: Positive | None = Field(None, examples=["256"])
    resample: Literal["bilinear", "bicubic", "box", "nearest", "lanczos"] = Field("bilinear", examples=['"bilinear"'])
    # The largest image that is decoded; None: computed from the network's size, Network.max_megapixels.
    max_megapixels: float | None = Field(None, gt=0, examples=["12.0"])
    # For FP32 pixels: (pixel / 255 - mean) / std of each channel. UINT8 pixels are sent unchanged.
    mean: tuple[float, ...] = Field((), examples=["[0.485, 0.456, 0.406]"])
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field((), examples=["[0.229, 0.224, 0.225]"])

    @model_validator(mode="after")
    def _mean_and_std_agree(self) -> Self:
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"mean has {len(self.mean)} entries and std {len(self.std)}: write one per channel in both"
            )
        return self


class TextOptions(Table):
    """How a text becomes tokens: padded to the smallest sufficient of `lengths`, truncated at the largest."""

    lengths: tuple[Positive, ...] = Field(min_length=1, examples=["[16, 32, 64, 128]"])
    max_bytes: int = Field(4_000_000, ge=1, examples=["4000000"])
    pad_id: int | None = Field(None, ge=0, examples=["0"])  # None: tokenizer.json's, or 0

    @model_validator(mode="after")
    def _lengths_rise(self) -> Self:
        if list(self.lengths) != sorted(set(self.lengths)):
            raise ValueError(f"lengths is {list(self.lengths)}: write each length once, the shortest first")
        return self


class TensorRTOptions(Table):
    """How TensorRT builds the plan, and with which versions and GPUs it is compatible."""

    opt_batch_size: Positive | None = Field(
        None, examples=["8"]
    )  # the batch size the plan is tuned for; None: the largest
    workspace_mb: Positive = Field(2048, examples=["2048"])
    optimization_level: int = Field(3, ge=0, le=5, examples=["3"])
    float_precision: Literal["fp32", "fp16"] = Field("fp16", examples=['"fp16"'])  # of everything that is not INT8
    hardware_compatibility: Literal["none", "ampere_plus", "same_compute_capability"] = Field(
        "none", examples=['"none"']
    )
    version_compatible: bool = Field(False, examples=["false"])
    cuda_graphs: bool = Field(False, examples=["true"])  # one for each batch size and padded length of the warm-up
