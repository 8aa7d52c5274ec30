"""The activations with the worst outliers, and how their values are spread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ai102.int8.ranges import Batch, session_that_also_gives
from ai102.weights.graph import Layer, clean_graph, weighted_layers

BINS = 96


@dataclass(frozen=True)
class Spread:
    """The values of one activation on real samples."""

    tensor: str
    layers: tuple[str, ...]  # that take it
    low: float
    high: float
    rms: float
    counts: tuple[int, ...]  # of BINS equal bins from low to high

    @property
    def outlier_ratio(self) -> float:
        """Largest magnitude over root mean square: what INT8 spends its levels on."""
        return max(abs(self.low), abs(self.high)) / self.rms if self.rms else 0.0


def worst_spreads(onnx_file: Path, batches: Callable[[], Iterable[Batch]], count: int) -> list[Spread]:
    """The `count` activations of layers with weights whose largest value stands out most, the worst first.

    `batches` is called twice: once to find each tensor's extremes, once to count the values of the worst.
    """
    model = clean_graph(onnx_file)
    takers: dict[str, list[Layer]] = {}
    given = {value.name for value in model.graph.input}
    for layer in weighted_layers(model):
        if layer.activation not in given:
            takers.setdefault(layer.activation, []).append(layer)
    session = session_that_also_gives(model, takers)
    names = list(takers)
    low = dict.fromkeys(names, np.inf)
    high = dict.fromkeys(names, -np.inf)
    squares, sizes = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0)
    for batch in batches():
        for name, values in zip(names, session.run(names, dict(batch)), strict=True):
            low[name], high[name] = min(low[name], float(values.min())), max(high[name], float(values.max()))
            squares[name] += float(np.square(values, dtype=np.float64).sum())
            sizes[name] += values.size
    rms = {name: (squares[name] / max(sizes[name], 1)) ** 0.5 for name in names}
    chosen = sorted(names, key=lambda name: -max(abs(low[name]), abs(high[name])) / (rms[name] or 1))[:count]
    counts = {name: np.zeros(BINS, np.int64) for name in chosen}
    for batch in batches():
        for name, values in zip(chosen, session.run(chosen, dict(batch)), strict=True):
            counts[name] += np.histogram(values, BINS, (low[name], high[name]))[0]
    return [
        Spread(
            name,
            tuple(layer.name for layer in takers[name]),
            low[name],
            high[name],
            rms[name],
            tuple(counts[name].tolist()),
        )
        for name in chosen
    ]
