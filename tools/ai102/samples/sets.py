"""The kinds of calibration sets: where samples lie, how they are read, what pins them."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ai102.errors import UserError
from ai102.samples import python_docs

Split = Literal["train", "calibration", "test"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
IMAGES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Samples:
    """One split, as clients send it to the served ensemble; for a network of tensors, one .npz per sample."""

    items: tuple[bytes, ...]  # encoded images, texts in UTF-8, or .npz files
    labels: tuple[int | str, ...]  # each item's correct label, as number or name; empty without labels
    sha256: str
    are_texts: bool = False


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Part(_Table):
    count: int = Field(ge=1)
    sha256: Sha256


class _File(_Part):
    file: str


class _TextFile(_File):
    # The number of sentences of Python's documentation that follow those of the file. They differ slightly between
    # releases of Python, so `count` and `sha256` are the file's alone.
    python_docs: int = Field(0, ge=0)


class _Folder(_Table):
    """A folder of samples. Its hash is optional, since no shell command computes it."""

    folder: str
    count: int | None = Field(None, ge=1)
    sha256: Sha256 | None = None


class DigitsSet(_Table):
    """scikit-learn's handwritten digits, shuffled by `seed` and split into train, calibration, test."""

    kind: Literal["digits"]
    seed: int
    train: _Part
    calibration: _Part
    test: _Part

    def read(self, _folder: Path, split: Split) -> Samples:
        from PIL import Image

        rows = np.loadtxt(_file_of("sklearn", "datasets/data/digits.csv.gz"), delimiter=",")
        grey_levels, labels = rows[:, :-1], rows[:, -1].astype(int)
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


def _file_of(package: str, path: str) -> Path:
    """A file that a package carries; scikit-learn takes more than a second to import. Raises UserError."""
    spec = importlib.util.find_spec(package)
    files = [Path(place) / path for place in (spec and spec.submodule_search_locations) or ()]
    if present := [file for file in files if file.is_file()]:
        return present[0]
    raise UserError(f"{package} is not installed, or has no {path}: run `make setup`")


class LinesSet(_Table):
    """Text files with one text per line."""

    kind: Literal["lines"]
    calibration: _TextFile
    test: _TextFile

    def read(self, folder: Path, split: Split) -> Samples:
        data = (folder / _part(self, split).file).read_bytes()
        return Samples(tuple(data.splitlines()), (), hashlib.sha256(data).hexdigest(), are_texts=True)

    def more(self, split: Split) -> tuple[bytes, ...]:
        """Items of the split that are not pinned. Raises UserError if this Python ships fewer."""
        count = getattr(self, split).python_docs
        sentences = python_docs.sentences(count) if count else ()
        if len(sentences) != count:
            raise UserError(
                f"python_docs is {count}, but the documentation of this Python holds {len(sentences)} sentences: "
                "it was removed; use a complete Python or a smaller number"
            )
        return sentences


class LabelledLinesSet(_Table):
    """Text files with one text per line and, after its last tab, the name of its label."""

    kind: Literal["labelled-lines"]
    calibration: _File
    test: _File

    def read(self, folder: Path, split: Split) -> Samples:
        file = folder / _part(self, split).file
        data = file.read_bytes()
        texts, labels = [], []
        for number, line in enumerate(data.splitlines(), start=1):
            text, tab, label = line.rpartition(b"\t")
            if not tab or not text.strip():
                raise UserError(f"{file}:{number}: write a text, a tab and the name of its label")
            texts.append(text)
            labels.append(label.strip().decode("utf-8", "replace"))
        return Samples(tuple(texts), tuple(labels), hashlib.sha256(data).hexdigest(), are_texts=True)

    def more(self, _split: Split) -> tuple[bytes, ...]:
        return ()


class ImagesSet(_Table):
    """Folders of PNG and JPEG files: one folder for each label, or one folder for unlabelled images."""

    kind: Literal["images"]
    calibration: _Folder
    test: _Folder

    def read(self, folder: Path, split: Split) -> Samples:
        place = folder / _part(self, split).folder
        files = sorted(file for file in place.rglob("*") if file.suffix.lower() in IMAGES and file.is_file())
        if not files:
            raise UserError(f"{place}: no PNG or JPEG files in it")
        labels = [file.parent.name for file in files if file.parent != place]
        if labels and len(labels) != len(files):
            raise UserError(f"{place}: {len(files) - len(labels)} of {len(files)} images are not in a label's folder")
        items, digest = tuple(file.read_bytes() for file in files), hashlib.sha256()
        for file, item in zip(files, items, strict=True):
            digest.update(f"{file.relative_to(place).as_posix()} {len(item)}\n".encode() + item)
        return Samples(items, tuple(labels), digest.hexdigest())

    def more(self, _split: Split) -> tuple[bytes, ...]:
        return ()


class ArraysSet(_Table):
    """NumPy's .npz files with an array [samples, ...] for each input of the network."""

    kind: Literal["arrays"]
    calibration: _File
    test: _File

    def read(self, folder: Path, split: Split) -> Samples:
        file = folder / _part(self, split).file
        data = file.read_bytes()
        try:
            with np.load(BytesIO(data), allow_pickle=False) as opened:
                arrays = {name: opened[name] for name in opened.files}
        except (ValueError, OSError) as err:
            raise UserError(f"{file}: not an .npz file of plain arrays: {err}") from err
        counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
        if len(set(counts.values())) != 1:
            raise UserError(f"{file}: every array must hold as many samples; they hold {counts}")
        items = tuple(_npz({name: array[row] for name, array in arrays.items()}) for row in range(min(counts.values())))
        return Samples(items, (), hashlib.sha256(data).hexdigest())

    def more(self, _split: Split) -> tuple[bytes, ...]:
        return ()


AnySet = DigitsSet | LinesSet | LabelledLinesSet | ImagesSet | ArraysSet
SET = TypeAdapter[AnySet](Annotated[AnySet, Field(discriminator="kind")])


def _part(declared: Any, split: Split) -> Any:
    if split == "train":
        raise UserError(f"a set of the kind {declared.kind} has no train split; use calibration or test")
    return getattr(declared, split)


def _npz(arrays: dict[str, NDArray[Any]]) -> bytes:
    out = BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()
