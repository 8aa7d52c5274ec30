"""Calibration and test samples as calibration/sets declares them: real data, split once, checked by hash."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ai102 import python_docs
from ai102.errors import UserError
from ai102.spec import Network
from ai102.transforms.texts import TextEncoder

Split = Literal["train", "calibration", "test"]
BATCH = 32


@dataclass(frozen=True)
class Samples:
    """One split, as a caller of the served ensemble would send it."""

    items: tuple[bytes, ...]  # encoded images, or texts in UTF-8
    labels: tuple[int, ...]  # the right answer of each item; empty where there is none
    sha256: str


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    count: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class _TextPart(_Part):
    file: str
    # So many sentences of Python's own documentation after those of the file. They differ a little from one release
    # of Python to the next, so `count` and `sha256` speak of the file alone.
    python_docs: int = Field(0, ge=0)


class _DigitsSet(BaseModel):
    """scikit-learn's handwritten digits, shuffled by `seed` and cut into train, calibration, test."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["digits"]
    seed: int
    train: _Part
    calibration: _Part
    test: _Part

    def read(self, _folder: Path, split: Split) -> Samples:
        from PIL import Image
        from sklearn.datasets import load_digits

        grey_levels, labels = load_digits(return_X_y=True)
        pixels = np.rint(grey_levels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
        order = np.random.RandomState(self.seed).permutation(len(pixels))
        ends = np.cumsum([self.train.count, self.calibration.count, self.test.count])
        end = ends[["train", "calibration", "test"].index(split)]
        chosen = order[end - getattr(self, split).count : end]
        digest = hashlib.sha256(pixels[chosen].tobytes() + labels[chosen].astype(np.uint8).tobytes())

        def png(image: NDArray[np.uint8]) -> bytes:
            out = BytesIO()
            Image.fromarray(image).save(out, "PNG")
            return out.getvalue()

        return Samples(tuple(png(pixels[i]) for i in chosen), tuple(int(labels[i]) for i in chosen), digest.hexdigest())

    def more(self, _split: Split) -> tuple[bytes, ...]:
        return ()


class _LinesSet(BaseModel):
    """Text files with one text a line."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["lines"]
    calibration: _TextPart
    test: _TextPart

    def read(self, folder: Path, split: Split) -> Samples:
        if split == "train":
            raise UserError("a set of text lines has no train split; use calibration or test")
        data = (folder / getattr(self, split).file).read_bytes()
        return Samples(tuple(data.splitlines()), (), hashlib.sha256(data).hexdigest())

    def more(self, split: Split) -> tuple[bytes, ...]:
        """What comes with the split but is not pinned. Raises UserError where this Python ships fewer."""
        wanted = getattr(self, split).python_docs
        found = python_docs.sentences(wanted) if wanted else ()
        if len(found) != wanted:
            raise UserError(
                f"python_docs is {wanted}, but the documentation of this Python holds {len(found)} sentences: "
                "it was stripped; use a complete Python or a smaller number"
            )
        return found


_Set = TypeAdapter[_DigitsSet | _LinesSet](Annotated[_DigitsSet | _LinesSet, Field(discriminator="kind")])


def read_samples(sets: Path, name: str, split: Split) -> Samples:
    """One split of the set `sets`/`name`.toml.

    Raises UserError when the set is not there or not well-formed, or when the samples found are not those
    whose count and sha256 the set declares.
    """
    file = sets / f"{name}.toml"
    try:
        declared = _Set.validate_python(tomllib.loads(file.read_text(encoding="utf-8")))
        samples = declared.read(sets, split)
    except FileNotFoundError as err:
        raise UserError(f"calibration set {name}: {err.filename} is missing; restore it or name another set") from err
    except tomllib.TOMLDecodeError as err:
        raise UserError(f"{file}: not valid TOML: {err}") from err
    except ValidationError as err:
        first = err.errors()[0]
        raise UserError(f"{file}: {'.'.join(map(str, first['loc'][1:]))}: {first['msg']}") from err
    part: _Part = getattr(declared, split)
    if (len(samples.items), samples.sha256) != (part.count, part.sha256):
        raise UserError(
            f"{file}: {split} declares {part.count} samples with sha256 {part.sha256[:12]}..., "
            f"found {len(samples.items)} with {samples.sha256}; restore the data, or declare what is there"
        )
    more = declared.more(split)
    if not more:
        return samples
    digest = hashlib.sha256(b"\n".join((samples.sha256.encode(), *more)))
    return Samples((*samples.items, *more), samples.labels, digest.hexdigest())


def calibration_and_test(sets: Path, name: str) -> tuple[Samples, Samples]:
    """The two splits that INT8 is made and judged on.

    Raises UserError where `read_samples` does, and when a calibration sample is also a test sample; texts that
    differ in case and spacing alone are the same.
    """
    calibration, test = (read_samples(sets, name, split) for split in ("calibration", "test"))
    is_text = not test.labels
    position_of = {_content(item, is_text): position for position, item in enumerate(test.items)}
    shared = [
        (position, position_of[content])
        for position, content in enumerate(_content(item, is_text) for item in calibration.items)
        if content in position_of
    ]
    if shared:
        raise UserError(
            f"calibration set {name}: {len(shared)} samples are in both splits, the first is calibration sample "
            f"{shared[0][0]} and test sample {shared[0][1]}: INT8 would be judged on what it was fitted to; "
            "take them out of one"
        )
    return calibration, test


def _content(item: bytes, is_text: bool) -> bytes:
    return b" ".join(item.lower().split()) if is_text else item


def tensors_of_items(network: Network, items: Sequence[bytes], tokenizer_file: Path | None) -> dict[str, NDArray[Any]]:
    """The network's inputs for `items`, all in one batch, by the very functions that Triton's Python models run."""
    if network.task == "image-classification":
        from ai102.transforms.images import pixels_from_image

        height, width, channels = network.image_size
        pixels = [
            pixels_from_image(
                item,
                height=height,
                width=width,
                channels=channels,
                layout=network.inputs[0].layout or "NCHW",
                resample=network.image.resample,
                max_megapixels=network.image.max_megapixels,
            )
            for item in items
        ]
        return {network.inputs[0].name: np.stack(pixels)}
    assert network.text is not None
    input_ids, attention_mask, _ = _encoder(tokenizer_file, network.text.lengths).tokens([i.decode() for i in items])
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def batches_of_items(
    network: Network, items: Sequence[bytes], tokenizer_file: Path | None
) -> Iterator[tuple[list[int], dict[str, NDArray[Any]]]]:
    """Positions and inputs of the items in batches, each text padded as it would be if it were sent alone."""
    positions: dict[tuple[int, ...], list[int]] = {}
    for position, item in enumerate(items):
        shape = tensors_of_items(network, [item], tokenizer_file)["input_ids"].shape if network.text else ()
        positions.setdefault(shape, []).append(position)
    for shape in sorted(positions):
        for start in range(0, len(positions[shape]), BATCH):
            chosen = positions[shape][start : start + BATCH]
            yield chosen, tensors_of_items(network, [items[position] for position in chosen], tokenizer_file)


@lru_cache(maxsize=1)  # reading a tokenizer takes longer than using it on a sentence
def _encoder(tokenizer_file: Path, lengths: tuple[int, ...]) -> TextEncoder:
    from tokenizers import Tokenizer

    return TextEncoder(Tokenizer.from_file(str(tokenizer_file)), lengths)
