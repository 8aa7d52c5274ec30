"""Ask a served ensemble about image files or texts, one answer per item."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ai102.client import Client, InferenceError, bytes_array
from ai102.contract import Contract
from ai102.contract.pipelines import pipeline_named


@dataclass(frozen=True)
class Answer:
    """The answer to one item: outputs as plain Python values, or an error."""

    item: str
    outputs: dict[str, Any] = field(default_factory=dict)
    milliseconds: float = 0.0
    error: str = ""


def answers_from_items(contract: Contract, url: str, ensemble: str, items: Sequence[str]) -> Iterator[Answer]:
    """An Answer for each item: a file name where the ensemble takes an image, the text itself where it takes text.

    A bad item gets an Answer with an error; raises UserError when no server answers at all.
    """
    pipeline = pipeline_named(contract, ensemble)
    outputs = contract.ensembles[ensemble].outputs
    with Client(url) as client:
        for item in items:
            try:
                data = Path(item).read_bytes() if pipeline.takes == "image" else item.encode("utf-8", "surrogateescape")
                began = time.perf_counter()
                arrays = client.infer(ensemble, {pipeline.input: bytes_array([data])}, outputs)
            except InferenceError as err:
                if not err.status:
                    raise
                yield Answer(item, error=str(err))
            except OSError as err:
                yield Answer(item, error=f"cannot read {item}: {err.strerror}")
            else:
                milliseconds = (time.perf_counter() - began) * 1000
                yield Answer(item, {key: _plain(arrays[key][0].tolist()) for key in outputs}, milliseconds)


def _plain(value: Any) -> Any:
    """Lists of one as their entry, bytes as text."""
    if isinstance(value, list):
        return _plain(value[0]) if len(value) == 1 else [_plain(entry) for entry in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
