"""Ask a served ensemble about image files or texts, one answer per item."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ai102.client import Client, InferenceError, bytes_array
from ai102.contract import Contract
from ai102.errors import UserError

Takes = Literal["image", "text"]


@dataclass(frozen=True)
class Answer:
    """What came back for one item: outputs as plain Python values, or an error."""

    item: str
    outputs: dict[str, Any] = field(default_factory=dict)
    milliseconds: float = 0.0
    error: str = ""


def takes(contract: Contract, ensemble: str) -> tuple[str, Takes]:
    """The name of the ensemble's one input, and whether it is an encoded image or a text.

    Raises UserError when `ensemble` is not one that takes an image or a text.
    """
    fronts = {model.name: model for model in contract.served_models if model.kind in ("decode_image", "tokenize_text")}
    answerable: dict[str, tuple[str, Takes]] = {}
    for name, table in contract.ensembles.items():
        for step in table.steps:
            if step.model in fronts and len(table.inputs) == 1:
                answerable[name] = (table.inputs[0], "image" if fronts[step.model].kind == "decode_image" else "text")
    if ensemble not in answerable:
        raise UserError(
            f"{ensemble} is no ensemble of models.toml that takes images or texts; there are {', '.join(answerable)}"
        )
    return answerable[ensemble]


def answers_from_items(contract: Contract, url: str, ensemble: str, items: Sequence[str]) -> Iterator[Answer]:
    """An Answer for each item: a file name where the ensemble takes an image, the text itself where it takes text.

    A bad item gets an Answer with an error; raises UserError when no server answers at all.
    """
    name, kind = takes(contract, ensemble)
    wanted = contract.ensembles[ensemble].outputs
    with Client(url) as client:
        for item in items:
            try:
                data = Path(item).read_bytes() if kind == "image" else item.encode("utf-8", "surrogateescape")
                began = time.perf_counter()
                arrays = client.infer(ensemble, {name: bytes_array([data])}, wanted)
            except InferenceError as err:
                if not err.status:
                    raise
                yield Answer(item, error=str(err))
            except OSError as err:
                yield Answer(item, error=f"cannot read {item}: {err.strerror}")
            else:
                milliseconds = (time.perf_counter() - began) * 1000
                yield Answer(item, {key: _plain(arrays[key][0].tolist()) for key in wanted}, milliseconds)


def _plain(value: Any) -> Any:
    """Lists of one as their entry, bytes as text."""
    if isinstance(value, list):
        return _plain(value[0]) if len(value) == 1 else [_plain(entry) for entry in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
