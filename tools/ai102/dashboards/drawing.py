"""Panels with their series as one picture, laid out as on Grafana's grid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ai102.artifact import replacing
from ai102.dashboards.queries import DashboardQueries, PanelQueries
from ai102.dashboards.units import worded
from ai102.prometheus.api import Series

COLUMNS = 24
WIDTH_IN, ROW_IN, HEAD_IN, DPI = 14.0, 0.34, 0.75, 80
# More lines are drawn, but not named.
MOST_NAMES, NAMES_A_LINE = 9, 3
COLOURS = {"green": "#73bf69", "yellow": "#f2cc0c", "red": "#f2495c", "blue": "#8ab8ff"}

Box = tuple[float, float, float, float]  # left, bottom, width, height as shares of the page


class Line(NamedTuple):
    """One series of a panel, with its name."""

    name: str
    series: Series

    @property
    def last(self) -> float:
        return next((value for _, value in reversed(self.series.points) if not math.isnan(value)), 0.0)


def draw_page(
    dashboard: DashboardQueries,
    values: Mapping[str, str],
    panels: Sequence[tuple[PanelQueries, list[Line]]],
    picture: Path,
) -> None:
    """Write `picture`, a PNG of all panels; `values` are what the dashboard's variables were set to."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = max(panel.place.y + panel.place.height for panel, _ in panels)
    height_in = rows * ROW_IN + HEAD_IN
    figure = pyplot.figure(figsize=(WIDTH_IN, height_in))
    chosen = "".join(f", {name} {value}" for name, value in values.items())
    figure.text(0.01, 1 - 0.3 / height_in, dashboard.title + chosen, fontsize=13, weight="bold")
    words = "Drawn by `ai102 dashboards pictures` from the queries of the panels. Grafana itself looks different."
    figure.text(0.01, 1 - 0.52 / height_in, words, fontsize=8, color="#666666")
    for heading, y in dashboard.rows:
        figure.text(0.01, 1 - (HEAD_IN + (y + 0.8) * ROW_IN) / height_in, heading, fontsize=10, color="#3d71d9")
    for panel, lines in panels:
        _DRAW[panel.kind](figure, _box(panel, height_in), panel, lines)
    with replacing(picture) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png", metadata={"Software": None})
    pyplot.close(figure)


def _box(panel: PanelQueries, height_in: float) -> Box:
    place, unit = panel.place, ROW_IN / height_in
    bottom = 1 - HEAD_IN / height_in - (place.y + place.height) * unit
    return place.x / COLUMNS, bottom, place.width / COLUMNS, place.height * unit


def _axes(figure: Any, box: Box, panel: PanelQueries, names: int) -> Any:
    """With space below for so many names."""
    left, bottom, width, height = box
    below = 0.16 + 0.08 * -(-min(names, MOST_NAMES) // NAMES_A_LINE)
    axes = figure.add_axes((left + 0.045, bottom + height * below, width - 0.065, height * (0.86 - below)))
    axes.set_title(panel.title, fontsize=9, loc="left", weight="bold")
    axes.tick_params(labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return axes


def _lines(figure: Any, box: Box, panel: PanelQueries, lines: list[Line]) -> None:
    axes = _axes(figure, box, panel, len(lines))
    if not lines:
        axes.text(0.5, 0.5, "no data", ha="center", transform=axes.transAxes)
        return
    ordered = sorted(lines, key=lambda line: -line.last)
    names = [f"{line.name}  {worded(line.last, panel.unit)}" for line in ordered]
    if panel.is_stacked:
        times = sorted({at for line in lines for at, _ in line.series.points})
        axes.stackplot(_minutes(times), [_values_at(line, times) for line in ordered], labels=names, alpha=0.7)
    else:
        for line, name in zip(ordered, names, strict=True):
            at = [at for at, _ in line.series.points]
            is_goal = line.name.startswith("goal")
            axes.plot(
                _minutes(at), [value for _, value in line.series.points], lw=1.2, label=name,
                ls="--" if is_goal else "-", marker="." if len(at) == 1 else None,
            )  # fmt: skip
    _time_axis(axes, panel)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[:MOST_NAMES], labels[:MOST_NAMES], loc="upper center", bbox_to_anchor=(0.5, -0.14),
        ncols=NAMES_A_LINE, fontsize=6.5, frameon=False, handlelength=1.2, columnspacing=1,
    )  # fmt: skip


def _numbers(figure: Any, box: Box, panel: PanelQueries, lines: list[Line]) -> None:
    axes = _axes(figure, box, panel, 0)
    axes.set_axis_off()
    shown = sorted(lines, key=lambda line: line.name)[:MOST_NAMES]
    across = max(1, min(3, len(shown)))
    down = max(1, -(-len(shown) // across))
    if not shown:
        axes.text(0.5, 0.5, "no data", ha="center", va="center")
    for place, line in enumerate(shown):
        x, y = place % across / across, 1 - (place // across + 1) / down
        axes.add_patch(_rectangle(x, y, 0.97 / across, 0.92 / down, _colour(panel, line.last)))
        middle = x + 0.485 / across
        size = 15 if down == 1 else 11 if down == 2 else 8
        axes.text(middle, y + 0.58 / down, worded(line.last, panel.unit), ha="center", va="center", fontsize=size)
        axes.text(middle, y + 0.16 / down, line.name, ha="center", va="center", fontsize=6)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _heatmap(figure: Any, box: Box, panel: PanelQueries, lines: list[Line]) -> None:
    axes = _axes(figure, box, panel, 0)
    by_bound = sorted((float(line.name), line) for line in lines)
    times = sorted({at for line in lines for at, _ in line.series.points})
    if not times:
        axes.text(0.5, 0.5, "no data", ha="center", transform=axes.transAxes)
        return
    cumulative = [[0.0] * len(times), *(_values_at(line, times) for _, line in by_bound)]
    counts = [
        [max(0.0, more - less) or math.nan for less, more in zip(below, up_to, strict=True)]
        for below, up_to in itertools.pairwise(cumulative)
    ]
    axes.pcolormesh(_minutes(times), range(len(by_bound)), counts, cmap="Blues", shading="nearest")
    axes.set_yticks(range(len(by_bound)), [_bound(bound, panel.unit) for bound, _ in by_bound])
    axes.tick_params(axis="y", labelsize=5.5)
    axes.xaxis.set_major_formatter(lambda value, place: f"{value:g} min")


def _bound(bound: float, unit: str) -> str:
    return "more" if math.isinf(bound) else f"to {worded(bound, unit)}"


def _time_axis(axes: Any, panel: PanelQueries) -> None:
    if panel.is_from_zero:
        axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    axes.yaxis.set_major_formatter(lambda value, place: worded(value, panel.unit))
    axes.xaxis.set_major_formatter(lambda value, place: f"{value:g} min")
    axes.grid(axis="y", color="#eeeeee")


def _minutes(times: Sequence[float]) -> list[float]:
    """Before the last of them: a picture has no date."""
    return [(at - times[-1]) / 60 for at in times]


def _values_at(line: Line, times: Sequence[float]) -> list[float]:
    values = dict(line.series.points)
    known = (values.get(at, 0.0) for at in times)
    return [0.0 if math.isnan(value) else value for value in known]


def _rectangle(x: float, y: float, width: float, height: float, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, color=colour, alpha=0.75, lw=0)


def _colour(panel: PanelQueries, value: float) -> str:
    """Of the last limit that the value reaches."""
    reached = [colour for limit, colour in panel.limits if limit is None or value >= limit]
    return COLOURS[reached[-1]] if reached else COLOURS["blue"]


_DRAW: Mapping[str, Callable[[Any, Box, PanelQueries, list[Line]], None]] = {
    "timeseries": _lines,
    "stat": _numbers,
    "heatmap": _heatmap,
}
