"""Calibration and test samples that calibration/sets declares: real data, with fixed splits, checked by hash."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ai102.contract import Network
from ai102.errors import UserError
from ai102.samples.sets import SET, Split
from ai102.samples.sets import Samples as Samples
from ai102_runtime.transforms.texts import TextEncoder

BATCH = 32


def read_samples(sets: Path, name: str, split: Split) -> Samples:
    """One split of the set `sets`/`name`.toml.

    Raises UserError when the set is missing or malformed, or when the samples' count and sha256 are not those that
    the set declares.
    """
    file = sets / f"{name}.toml"
    try:
        declared = SET.validate_python(tomllib.loads(file.read_text(encoding="utf-8")))
        samples = declared.read(sets, split)
    except FileNotFoundError as err:
        raise UserError(f"calibration set {name}: {err.filename} is missing; restore it or name another set") from err
    except tomllib.TOMLDecodeError as err:
        raise UserError(f"{file}: not valid TOML: {err}") from err
    except ValidationError as err:
        first = err.errors()[0]
        raise UserError(f"{file}: {'.'.join(map(str, first['loc'][1:]))}: {first['msg']}") from err
    part = getattr(declared, split)
    if part.count not in (None, len(samples.items)) or part.sha256 not in (None, samples.sha256):
        raise UserError(
            f"{file}: {split} declares {part.count} samples with sha256 {str(part.sha256)[:12]}..., "
            f"found {len(samples.items)} with {samples.sha256}; restore the data, or declare the present data"
        )
    more = declared.more(split)
    if not more:
        return samples
    digest = hashlib.sha256(b"\n".join((samples.sha256.encode(), *more)))
    return replace(samples, items=(*samples.items, *more), sha256=digest.hexdigest())


def calibration_and_test(sets: Path, name: str) -> tuple[Samples, Samples]:
    """The splits for building an INT8 network and for measuring its accuracy.

    Raises UserError where `read_samples` does, and when a calibration sample is also a test sample; texts that
    differ in case and spacing alone are the same.
    """
    calibration, test = (read_samples(sets, name, split) for split in ("calibration", "test"))
    position_of = {_content(item, test.are_texts): position for position, item in enumerate(test.items)}
    shared = [
        (position, position_of[content])
        for position, content in enumerate(_content(item, test.are_texts) for item in calibration.items)
        if content in position_of
    ]
    if shared:
        raise UserError(
            f"calibration set {name}: {len(shared)} samples are in both splits, the first is calibration sample "
            f"{shared[0][0]} and test sample {shared[0][1]}: INT8 would be measured on its own calibration data; "
            "remove them from one"
        )
    return calibration, test


def _content(item: bytes, is_text: bool) -> bytes:
    return b" ".join(item.lower().split()) if is_text else item


def tensors_of_items(network: Network, items: Sequence[bytes], tokenizer_file: Path | None) -> dict[str, NDArray[Any]]:
    """The network's inputs for `items`, in one batch, computed by the functions that Triton's Python models run."""
    if network.task == "image-classification":
        from ai102_runtime.transforms.images import pixels_from_image

        height, width, channels = network.image_size
        pixels = [
            pixels_from_image(
                item,
                height=height,
                width=width,
                channels=channels,
                layout=network.inputs[0].layout or "NCHW",
                resample=network.image.resample,
                max_megapixels=network.max_megapixels,
                shortest_edge=network.image.shortest_edge,
                type=network.inputs[0].type,
                mean=network.image.mean,
                std=network.image.std,
            )
            for item in items
        ]
        return {network.inputs[0].name: np.stack(pixels)}
    if network.text is None:
        return _arrays_of_items(network, items)
    encoder = _encoder(tokenizer_file, network.text.lengths, network.text.pad_id)
    input_ids, attention_mask, _ = encoder.tokens([item.decode() for item in items])
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def _arrays_of_items(network: Network, items: Sequence[bytes]) -> dict[str, NDArray[Any]]:
    """The .npz files of a set of arrays, joined. Raises UserError where an input is not in them."""
    rows: dict[str, list[NDArray[Any]]] = {tensor.name: [] for tensor in network.inputs}
    for item in items:
        with np.load(BytesIO(item), allow_pickle=False) as opened:
            if missing := [name for name in rows if name not in opened.files]:
                raise UserError(f"the calibration set has no array {missing[0]}; it has {', '.join(opened.files)}")
            for name, array in rows.items():
                array.append(opened[name])
    return {name: np.stack(array) for name, array in rows.items()}


def label_numbers(network: Network, samples: Samples) -> NDArray[np.int64]:
    """Each sample's label as an index into the network's labels. Raises UserError for an unknown label."""
    number_of = {label: number for number, label in enumerate(network.labels)}
    if unknown := next((label for label in samples.labels if isinstance(label, str) and label not in number_of), None):
        raise UserError(f'the calibration set has the label "{unknown}", the network has {", ".join(network.labels)}')
    return np.array([label if isinstance(label, int) else number_of[label] for label in samples.labels], np.int64)


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
def _encoder(tokenizer_file: Path, lengths: tuple[int, ...], pad_id: int | None) -> TextEncoder:
    from tokenizers import Tokenizer

    return TextEncoder(Tokenizer.from_file(str(tokenizer_file)), lengths, pad_id)
