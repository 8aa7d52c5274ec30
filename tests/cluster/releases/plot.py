"""Harmed calls of each bad release by way, as one figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.cluster.releases.results import Results
from tests.cluster.releases.ways import ALL_AT_ONCE, ERROR_RATE, OURS, WAYS

COLOURS = {ALL_AT_ONCE: "#bdbdbd", ERROR_RATE: "#fd8d3c", OURS: "#2171b5"}


def write_plot(results: Results, bad: Sequence[str], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in bad if all(results.of(name, way) for way in WAYS)]

    def harmed(name: str, way: str) -> int:
        trial = results.of(name, way)
        return trial.harmed if trial else 0

    names.sort(key=lambda name: harmed(name, ALL_AT_ONCE))
    figure, axis = pyplot.subplots(figsize=(8, 1.4 + 0.42 * len(names)))
    for place, way in enumerate(WAYS):
        heights = [number + (1 - place) * 0.26 for number in range(len(names))]
        axis.barh(heights, [harmed(name, way) for name in names], 0.25, label=way, color=COLOURS[way])
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("harmed calls in 90 s: failed, wrong, or late")
    axis.legend(loc="lower right", frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
