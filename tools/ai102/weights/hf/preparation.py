"""Converts a checkpoint's image processor to options of models.toml and arithmetic in the graph, and compares both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor

from ai102.errors import UserError
from ai102.weights.hf.checkpoint import Checkpoint
from ai102.weights.hf.load import errors_in_one_line, quietly
from ai102_runtime.transforms.images import pixels_from_image

# Pillow's filters by their number in preprocessor_config.json.
RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box"}
# Allowed difference of normalised pixels from those of transformers; a pixel value off by one is 100 times that.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Preparation:
    """Image preprocessing: scaling to `height` x `width` pixels before the graph, the rest inside it."""

    height: int
    width: int
    resample: str
    shortest_edge: int | None = None
    crop: tuple[int, int] | None = None  # (height, width) cut from the middle of the pixels
    scale: tuple[float, ...] = (1.0, 1.0, 1.0)  # values = pixels * scale - shift
    shift: tuple[float, ...] = (0.0, 0.0, 0.0)


def processor_of(checkpoint: Checkpoint) -> Any:
    with quietly(), errors_in_one_line(checkpoint, "cannot read its image processor"):
        processor = AutoImageProcessor.from_pretrained(
            checkpoint.folder, backend="pil", local_files_only=True, trust_remote_code=False
        )
    if getattr(processor, "backend", None) != "pil":
        raise _refusal(checkpoint, processor, "has no Pillow backend, which serves the images")
    return processor


def preparation_of(checkpoint: Checkpoint, processor: Any, config: Any) -> Preparation:
    """Raises UserError, in one line, for settings that models.toml and the graph cannot express."""
    with errors_in_one_line(checkpoint, "has an image processor with incomplete settings"):
        return _preparation(checkpoint, processor, config)


def _preparation(checkpoint: Checkpoint, processor: Any, config: Any) -> Preparation:
    if getattr(config, "num_channels", 3) != 3:
        raise UserError(f"{checkpoint.source}: takes images of {config.num_channels} channels, expected 3 (RGB)")
    resample = 2 if getattr(processor, "resample", None) is None else int(processor.resample)
    if resample not in RESAMPLE:
        raise _refusal(checkpoint, processor, f"scales with Pillow's filter {resample}; served are {_served_filters()}")
    if getattr(processor, "do_pad", None):
        raise _refusal(checkpoint, processor, "pads images (do_pad), which is not served")
    height, width, edge = _sizes(checkpoint, processor, config)
    crop = _crop_size(processor)
    if crop and (crop[0] > height or crop[1] > width):
        raise _refusal(checkpoint, processor, f"crops {list(crop)} from {[height, width]}, which pads: not served")
    if edge is not None and edge < max(height, width):
        raise _refusal(checkpoint, processor, f"crops {[height, width]} from images of {edge}, which pads: not served")
    factor = float(processor.rescale_factor) if processor.do_rescale else 1.0
    mean, std = (
        _three(values) if processor.do_normalize else (default,) * 3
        for values, default in ((processor.image_mean, 0.0), (processor.image_std, 1.0))
    )
    scale = tuple(factor / s for s in std)
    shift = tuple(m / s for m, s in zip(mean, std, strict=True))
    return Preparation(height, width, RESAMPLE[resample], edge, crop if crop != (height, width) else None, scale, shift)


def _sizes(checkpoint: Checkpoint, processor: Any, config: Any) -> tuple[int, int, int | None]:
    """Height and width of the pixels, and the length that the shorter side is scaled to first, if any."""
    crop = _crop_size(processor)
    if not processor.do_resize:
        size = getattr(config, "image_size", None)
        if crop or not isinstance(size, int | list | tuple):
            raise _refusal(checkpoint, processor, "does not scale images (do_resize is false), so sizes vary")
        return (size, size, None) if isinstance(size, int) else (int(size[0]), int(size[1]), None)
    size = {key: value for key, value in dict(processor.size).items() if value}
    if type(processor).__name__.startswith("ConvNext") and set(size) == {"shortest_edge"}:
        edge = int(size["shortest_edge"])  # below 384 the image is cropped, from 384 on it is only scaled
        return (edge, edge, int(edge / processor.crop_pct) if edge < 384 else None)
    if set(size) == {"height", "width"}:
        return int(size["height"]), int(size["width"]), None
    if set(size) == {"shortest_edge"} and crop:
        return *crop, int(size["shortest_edge"])
    shown = ", ".join(f"{key} {value}" for key, value in size.items())
    raise _refusal(checkpoint, processor, f"scales to {shown}{'' if crop else ' without a crop'}: sizes would differ")


def _crop_size(processor: Any) -> tuple[int, int] | None:
    if not getattr(processor, "do_center_crop", None):
        return None
    size = dict(processor.crop_size)
    return int(size["height"]), int(size["width"])


def _three(values: Any) -> tuple[float, ...]:
    return tuple(map(float, values)) if isinstance(values, list | tuple) else (float(values),) * 3


def _served_filters() -> str:
    return ", ".join(RESAMPLE.values())


def check_pixels(
    checkpoint: Checkpoint, processor: Any, preparation: Preparation, prepared: Callable[[Tensor], Tensor]
) -> None:
    """Raises UserError when the processor changes images in a way that its settings do not describe."""
    height, width = preparation.height, preparation.width
    random = np.random.default_rng(102)
    sizes = [(height, width)]
    if processor.do_resize:
        sizes += [(2 * height + 7, width + 3), (height // 2 + 5, width + 31)]
    for size in sizes:
        image = Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8))
        encoded = BytesIO()
        image.save(encoded, "PNG", compress_level=0)
        ours = prepared(torch.from_numpy(_pixels(encoded.getvalue(), preparation)[None]))
        with errors_in_one_line(checkpoint, "cannot run its image processor"):
            theirs = torch.as_tensor(np.asarray(processor(image)["pixel_values"], dtype=np.float32))
        if theirs.shape != ours.shape or not torch.allclose(theirs, ours, rtol=1e-5, atol=TOLERANCE):
            raise _refusal(
                checkpoint, processor, "does more than its size, crop, rescale and normalize say: not served"
            )


def _pixels(data: bytes, preparation: Preparation) -> Any:
    return pixels_from_image(
        data,
        height=preparation.height,
        width=preparation.width,
        channels=3,
        layout="NCHW",
        resample=preparation.resample,
        max_megapixels=1000,
        shortest_edge=preparation.shortest_edge,
    )


def _refusal(checkpoint: Checkpoint, processor: Any, what: str) -> UserError:
    return UserError(f"{checkpoint.source}: its {type(processor).__name__.removesuffix('Pil')} {what}")
