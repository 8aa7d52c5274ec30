"""Encoded image bytes to the pixels a network takes."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

FORMATS = ("PNG", "JPEG")
# Each scan of a JPEG costs as much as all its pixels; progressive ones have about ten.
START_OF_SCAN, MOST_SCANS = b"\xff\xda", 32
JPEG_FACTOR, SMALL = 4, 1_000_000
# Where Pillow looks for an orientation; without any of them it takes 20 us to find none.
ORIENTED_BY = {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def pixels_from_image(
    data: bytes,
    *,
    height: int,
    width: int,
    channels: int,
    layout: str,
    resample: str,
    max_megapixels: float,
    shortest_edge: int | None = None,
    type: str = "UINT8",
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Decode a PNG or JPEG of any size and colour and scale it to the network's size.

    Turns the image upright by its EXIF orientation first. The whole image is scaled to `height` x `width`; with
    `shortest_edge` its shorter side is scaled to that and the middle cut out. Returns uint8 [channels, height, width]
    for layout "NCHW", [height, width, channels] for "NHWC"; for type "FP32" float32 of the same shape,
    (pixel / 255 - mean) / std of each channel. Raises ValueError with one sentence for the caller.
    """
    image, sides = _decoded(data, max_megapixels, shortest_edge or max(height, width))
    plain = _eight_bit(image)
    mode = "L" if channels == 1 else "RGB"
    if plain.mode != mode:
        plain = plain.convert(mode)
    scaled = _scaled(plain, sides, height, width, shortest_edge, Image.Resampling[resample.upper()], max_megapixels)
    # A third of the time that numpy takes to read a Pillow image by itself.
    pixels = np.frombuffer(scaled.tobytes(), np.uint8).reshape(height, width, channels)
    values = _normalised(pixels, mean, std) if type == "FP32" else pixels
    return np.ascontiguousarray(values.transpose(2, 0, 1)) if layout == "NCHW" else values


def _decoded(data: bytes, max_megapixels: float, needed: int) -> tuple[Image.Image, tuple[int, int]]:
    """The image, upright, and the shorter and longer side it has in the file.

    A JPEG above SMALL pixels is decoded at 1/2, 1/4 or 1/8 of its size where each side stays at least twice `needed`.
    A reduced JPEG may have JPEG_FACTOR times the pixels: its decoder computes fewer.
    """
    if not data:
        raise ValueError("the image is empty (0 bytes): send the bytes of a PNG or JPEG file")
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise _too_large(max_megapixels) from None
    except Exception as err:  # Pillow raises a dozen kinds on a broken header; all mean the same here
        raise ValueError(f"these {len(data)} bytes are not a PNG or JPEG image: send an encoded image file") from err
    short, long = sorted(image.size)  # known from the header, before any pixel is decoded
    if isinstance(image, JpegImageFile):
        if data.count(START_OF_SCAN) > MOST_SCANS:
            raise ValueError(f"the JPEG image has more than {MOST_SCANS} scans: save it again before sending")
        if short * long > JPEG_FACTOR * max_megapixels * 1e6:
            raise _too_large(JPEG_FACTOR * max_megapixels)
        if short * long > SMALL:
            image.draft(None, (2 * needed, 2 * needed))
    if image.width * image.height > max_megapixels * 1e6:
        raise _too_large(max_megapixels)
    try:
        if image.format == "PNG":
            _check_sums(data)
        image.load()
        if ORIENTED_BY & image.info.keys():
            ImageOps.exif_transpose(image, in_place=True)
        return image, (short, long)
    except Exception as err:  # as above, now on a broken body
        raise ValueError(
            f"the {image.format} image of {len(data)} bytes is truncated or corrupt: send the whole file"
        ) from err


def _check_sums(png: bytes) -> None:
    """Raise ValueError unless each chunk has its checksum; Pillow decodes damaged pixels without a word.

    Its verify() would check them too, and have the file opened a second time.
    """
    at, view = len(PNG_SIGNATURE), memoryview(png)
    while at < len(png):
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")  # length, type, data, checksum
        if crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise ValueError("a checksum is wrong")
        if png[at + 4 : at + 8] == b"IEND":
            return
        at = end + 4
    raise ValueError("the end is missing")


def _scaled(
    image: Image.Image,
    sides: tuple[int, int],
    height: int,
    width: int,
    shortest_edge: int | None,
    resampling: Image.Resampling,
    max_megapixels: float,
) -> Image.Image:
    if shortest_edge is None:
        return image.resize((width, height), resampling)
    # Rounded down and cut from the middle rounded down, as Hugging Face's image processors do.
    short, long = sides
    longest_edge = int(shortest_edge * long / short)
    if shortest_edge * longest_edge > max_megapixels * 1e6:  # a line of pixels would grow to gigabytes
        raise ValueError(
            f"the image is {image.width}x{image.height}, too narrow to scale its shorter side to {shortest_edge}: "
            "cut it before sending"
        )
    is_upright = image.width <= image.height
    scaled = image.resize((shortest_edge, longest_edge) if is_upright else (longest_edge, shortest_edge), resampling)
    left, top = (scaled.width - width) // 2, (scaled.height - height) // 2
    return scaled.crop((left, top, left + width, top + height))


def _normalised(pixels: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    values = pixels.astype(np.float32) / np.float32(255)
    if not mean:
        return values
    return (values - np.array(mean, np.float32)) / np.array(std, np.float32)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Pillow clips 16-bit grey at 255 when it converts; keep the upper byte instead."""
    if not image.mode.startswith("I"):
        return image
    wide = np.asarray(image).astype(np.uint32)
    return Image.fromarray((wide >> 8).clip(0, 255).astype(np.uint8))


def _too_large(max_megapixels: float) -> ValueError:
    return ValueError(f"the image has more than {max_megapixels:g} million pixels: scale it down before sending")
