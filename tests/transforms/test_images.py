from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ai102.transforms.images import pixels_from_image

GREY: dict[str, Any] = {
    "height": 8, "width": 8, "channels": 1, "layout": "NCHW", "resample": "box", "max_megapixels": 1.0,
}  # fmt: skip


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def ramp() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def test_an_image_of_the_right_size_arrives_unchanged() -> None:
    pixels = pixels_from_image(encoded(Image.fromarray(ramp())), **GREY)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, ramp()[None])


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(ramp()).resize((64, 64), Image.Resampling.NEAREST),
        Image.fromarray(ramp()).convert("RGB"),
        Image.fromarray(ramp()).convert("RGBA"),
        Image.fromarray(ramp()).convert("LA"),
        Image.fromarray(ramp()).convert("P"),
        Image.fromarray(ramp().astype(np.uint16) * 257),
    ],
    ids=["enlarged", "RGB", "RGBA", "grey with alpha", "palette", "16-bit grey"],
)
def test_every_kind_of_png_comes_to_the_same_pixels(image: Image.Image) -> None:
    assert np.array_equal(pixels_from_image(encoded(image), **GREY), ramp()[None])


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_kind_of_jpeg_is_read(mode: str) -> None:
    image = Image.fromarray(ramp()).resize((64, 64), Image.Resampling.NEAREST).convert(mode)
    pixels = pixels_from_image(encoded(image, "JPEG", quality=100), **GREY).astype(int)
    assert np.abs(pixels - ramp()[None]).max() <= 4


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [(1, lambda a: a), (3, lambda a: np.rot90(a, 2)), (6, lambda a: np.rot90(a, 1)), (8, lambda a: np.rot90(a, -1))],
)
def test_exif_orientation_is_undone(
    orientation: int, undo: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo(ramp())))
    assert np.array_equal(pixels_from_image(encoded(stored, exif=exif), **GREY), ramp()[None])


def test_layouts_and_colours() -> None:
    image = Image.new("RGB", (4, 4), (10, 20, 30))
    nhwc = pixels_from_image(encoded(image), **GREY | {"channels": 3, "layout": "NHWC", "height": 2, "width": 3})
    nchw = pixels_from_image(encoded(image), **GREY | {"channels": 3, "height": 2, "width": 3})
    assert nhwc.shape == (2, 3, 3)
    assert np.array_equal(nhwc.transpose(2, 0, 1), nchw)
    assert nchw[:, 0, 0].tolist() == [10, 20, 30]


PNG = encoded(Image.fromarray(ramp()).resize((200, 200)))
JPEG = encoded(Image.fromarray(ramp()).resize((200, 200)), "JPEG")
BAD = {
    "empty": (b"", "the image is empty (0 bytes): send the bytes of a PNG or JPEG file"),
    "text": (b"hello, I am a text", "these 18 bytes are not a PNG or JPEG image: send an encoded image file"),
    "truncated PNG": (PNG[:400], "the PNG image of 400 bytes is truncated or corrupt: send the whole file"),
    "truncated JPEG": (JPEG[: len(JPEG) // 2], "is truncated or corrupt: send the whole file"),
    "header only": (PNG[:20], "these 20 bytes are not a PNG or JPEG image: send an encoded image file"),
    "flipped bytes": (PNG[:100] + bytes(50) + PNG[150:], "is truncated or corrupt: send the whole file"),
    "another format": (encoded(Image.new("L", (8, 8)), "GIF"), "are not a PNG or JPEG image"),
    "large": (encoded(Image.new("L", (2000, 600))), "the image has more than 1 million pixels"),
    "bomb": (encoded(Image.new("1", (30_000, 30_000))), "the image has more than 1 million pixels: scale it down"),
}


@pytest.mark.parametrize(("data", "sentence"), BAD.values(), ids=BAD)
def test_a_bad_image_is_one_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the sentence is compared below
        pixels_from_image(data, **GREY)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
