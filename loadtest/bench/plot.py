"""The results as one figure: a panel for each work, a bar for each server at each concurrency."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loadtest.bench.goals import CONCURRENCIES, LOOP
from loadtest.bench.results import Results, WorkResult

# Triton in blue, the peers in warm colours, the session loop in grey.
COLOURS = {
    "Triton HTTP": "#9ecae1",
    "Triton gRPC": "#2171b5",
    "Triton shared memory": "#08306b",
    "FastAPI": "#fd8d3c",
    "FastAPI, chosen engine": "#fdd0a2",
    "LitServe": "#e6550d",
    "BentoML": "#c994c7",
    "Ray Serve": "#ce1256",
}
COLUMNS = 3


def write_plot(results: Results, file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    works = [work for work in results.works if work.cells]
    columns = min(COLUMNS, max(1, len(works)))
    lines = max(1, -(-len(works) // columns))
    figure, axes = pyplot.subplots(lines, columns, figsize=(5.2 * columns, 3.8 * lines + 0.7), squeeze=False)
    for place, axis in enumerate(axes.flat):
        if place < len(works):
            _panel(axis, works[place])
        else:
            axis.set_axis_off()
    handles: dict[str, object] = {}
    for axis in axes.flat:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(list(handles.values()), list(handles), loc="lower center", ncols=4, fontsize=9, frameon=False)
    conditions = (
        f"{results.machine.get('cpu', '')}, one core for the server, {results.date[:10]}; p99 in ms above each bar"
    )
    figure.suptitle(f"Requests per second, more is better ({conditions})", fontsize=10)
    figure.tight_layout(rect=(0, 0.09, 1, 0.97))
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _panel(axis: Any, work: WorkResult) -> None:
    cells = {(cell.server, cell.concurrency): cell for cell in work.cells}
    absent = {row.server: row.not_measured for row in work.servers if row.not_measured}
    servers = [name for name in COLOURS if name in absent or any(key[0] == name for key in cells)]
    width = 0.84 / max(1, len(servers))
    for place, server in enumerate(servers):
        at = [group + (place - (len(servers) - 1) / 2) * width for group in range(len(CONCURRENCIES))]
        row = [cells.get((server, concurrency)) for concurrency in CONCURRENCIES]
        heights = [0.0 if cell is None else cell.per_s for cell in row]
        spread = [
            [0.0 if cell is None else cell.per_s - cell.per_s_low for cell in row],
            [0.0 if cell is None else cell.per_s_high - cell.per_s for cell in row],
        ]
        axis.bar(at, heights, width, label=server, color=COLOURS[server], yerr=spread, error_kw={"lw": 0.8})
        for x, cell in zip(at, row, strict=True):
            if cell is None:
                axis.text(x, 0, " not measured", rotation=90, ha="center", va="bottom", fontsize=6)
            elif cell.p99_ms is not None:
                axis.text(
                    x,
                    cell.per_s_high,
                    f" {_three_digits(cell.p99_ms)}",
                    rotation=90,
                    ha="center",
                    va="bottom",
                    fontsize=6.5,
                )
    limit = cells.get((LOOP, 1))
    if limit is not None:
        axis.axhline(limit.per_s, color="#636363", ls="--", lw=1, label="session loop, no server")
    axis.set_xticks(range(len(CONCURRENCIES)), [f"{number} in flight" for number in CONCURRENCIES], fontsize=8)
    axis.tick_params(axis="y", labelsize=8)
    axis.margins(y=0.22)
    axis.set_title(work.about, fontsize=8.5)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _three_digits(number: float) -> str:
    """Three significant digits, or all digits of a large number, without an exponent."""
    return f"{number:.0f}" if number >= 1000 else f"{number:.3g}"
