"""The same samples as other callers send them: other file formats and sizes, other lengths of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, NamedTuple

from PIL import Image

from ai102.judging.subject import Subject, Target

ORIENTATION, TURNED_LEFT = 0x0112, 6  # of EXIF: shown after a quarter turn clockwise


class Task(NamedTuple):
    target: Target
    form: str
    position: int
    item: bytes


def tasks(subject: Subject, target: Target) -> Iterator[Task]:
    """The forms of a few samples for one pipeline, the same ones at every judgement."""
    if target.takes == "image":
        yield from _images(subject, target)
    else:
        yield from _texts(subject, target)


def _images(subject: Subject, target: Target) -> Iterator[Task]:
    position = 0
    for name, (count, encode) in IMAGE_FORMS.items():
        for _ in range(count):
            item = subject.items[position % len(subject.items)]
            yield Task(target, name, position % len(subject.items), encode(item, subject.network.max_megapixels))
            position += 1


def _texts(subject: Subject, target: Target) -> Iterator[Task]:
    texts = [item.decode("utf-8", "replace") for item in subject.items]
    for number, (name, count) in enumerate(LENGTHS.items()):
        for start in (0, 1) if count < 40 else (0,):
            chosen = [texts[(7 * number + start + place) % len(texts)] for place in range(count)]
            yield Task(target, name, -1, " ".join(chosen).encode())
    for name, change in TEXT_FORMS.items():
        for position in (0, 1):
            yield Task(target, name, position, change(texts[position % len(texts)]).encode())


def _encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _scaled(image: Image.Image, factor: float, resample: Image.Resampling, max_megapixels: float) -> Image.Image:
    """Larger by the factor, or as large as may be sent."""
    most = (0.9 * max_megapixels * 1e6 / (image.width * image.height)) ** 0.5
    factor = min(factor, most)
    return image.resize((max(1, int(image.width * factor)), max(1, int(image.height * factor))), resample)


def _opened(item: bytes) -> Image.Image:
    return Image.open(BytesIO(item))


def _jpeg(item: bytes, most: float) -> bytes:
    large = _scaled(_opened(item).convert("RGB"), 8, Image.Resampling.NEAREST, most)
    return _encoded(large, "JPEG", quality=95)


def _smooth(item: bytes, most: float) -> bytes:
    return _encoded(_scaled(_opened(item), 4.6, Image.Resampling.BICUBIC, most))


def _transparent(item: bytes, most: float) -> bytes:
    return _encoded(_opened(item).convert("RGBA"))


def _palette(item: bytes, most: float) -> bytes:
    return _encoded(_opened(item).convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE))


def _coloured(item: bytes, most: float) -> bytes:
    image = _opened(item).convert("RGB")
    red, green, blue = image.split()
    return _encoded(Image.merge("RGB", (red, green, blue.point(lambda value: value // 2))))


def _turned(item: bytes, most: float) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED_LEFT
    lying = _scaled(_opened(item).convert("RGB"), 8, Image.Resampling.NEAREST, most).transpose(
        Image.Transpose.ROTATE_90
    )
    return _encoded(lying, "JPEG", quality=95, exif=exif)


def _large(item: bytes, most: float) -> bytes:
    image = _opened(item)
    return _encoded(_scaled(image, 1600 / max(image.size), Image.Resampling.NEAREST, most), compress_level=1)


# By name: how many samples are sent in it.
IMAGE_FORMS: dict[str, tuple[int, Callable[[bytes, float], bytes]]] = {
    "JPEG": (10, _jpeg),
    "scaled smoothly": (10, _smooth),
    "with transparency": (5, _transparent),
    "palette": (5, _palette),
    "coloured": (5, _coloured),
    "turned by EXIF": (5, _turned),
    "1600 pixels wide": (3, _large),
}
# By name: sentences in one text; they pad to every length of the network, and beyond.
LENGTHS = {"2 sentences": 2, "4 sentences": 4, "8 sentences": 8, "16 sentences": 16, "40 sentences": 40}
TEXT_FORMS: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "accents and signs": lambda text: f"«{text}», naïve café, 東京, 😀",
    "lines and spaces": lambda text: f"  {text}\n\n\t{text} ",
}
