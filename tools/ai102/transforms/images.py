"""Encoded image bytes to the pixels a network takes."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG")


def pixels_from_image(
    data: bytes, *, height: int, width: int, channels: int, layout: str, resample: str, max_megapixels: float
) -> NDArray[np.uint8]:
    """Decode a PNG or JPEG of any size and colour and scale it to the network's size.

    Turns the image upright by its EXIF orientation first. Returns uint8 [channels, height, width] for layout
    "NCHW", [height, width, channels] for "NHWC". Raises ValueError with one sentence for the caller.
    """
    if not data:
        raise ValueError("the image is empty (0 bytes): send the bytes of a PNG or JPEG file")
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise _too_large(max_megapixels) from None
    except Exception as err:  # Pillow raises a dozen kinds on a broken header; all mean the same here
        raise ValueError(f"these {len(data)} bytes are not a PNG or JPEG image: send an encoded image file") from err
    if image.width * image.height > max_megapixels * 1e6:  # known from the header, before any pixel is decoded
        raise _too_large(max_megapixels)
    try:
        if image.format == "PNG":  # decoding alone does not look at the checksums
            image.verify()
            image = Image.open(BytesIO(data), formats=FORMATS)
        image.load()
        upright = ImageOps.exif_transpose(image)
    except Exception as err:  # as above, now on a broken body
        raise ValueError(
            f"the {image.format} image of {len(data)} bytes is truncated or corrupt: send the whole file"
        ) from err
    plain = _eight_bit(upright).convert("L" if channels == 1 else "RGB")
    scaled = plain.resize((width, height), Image.Resampling[resample.upper()])
    pixels = np.asarray(scaled, dtype=np.uint8).reshape(height, width, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)) if layout == "NCHW" else pixels


def _eight_bit(image: Image.Image) -> Image.Image:
    """Pillow clips 16-bit grey at 255 when it converts; keep the upper byte instead."""
    if not image.mode.startswith("I"):
        return image
    wide = np.asarray(image).astype(np.uint32)
    return Image.fromarray((wide >> 8).clip(0, 255).astype(np.uint8))


def _too_large(max_megapixels: float) -> ValueError:
    return ValueError(f"the image has more than {max_megapixels:g} million pixels: scale it down before sending")
