"""Pictures of every panel, drawn from its own queries; one file a dashboard."""

from __future__ import annotations

import time
from pathlib import Path

from ai102.dashboards.drawing import Line, draw_page
from ai102.dashboards.queries import DashboardQueries, PanelQueries, filled, legend, queries_from_file
from ai102.progress import Reporter
from ai102.prometheus.api import instant, label_values, over_time

# Points of a line.
STEPS = 180


def draw(folder: Path, url: str, seconds: float, out: Path, report: Reporter) -> list[Path]:
    """One picture for each dashboard of `folder`, over the last `seconds` of the Prometheus at `url`.

    Raises NoAnswerError, and QueryError for a query that Prometheus does not take.
    """
    end_s = time.time()
    pictures = []
    for file in sorted(folder.glob("*.json")):
        dashboard = queries_from_file(file)
        values = chosen(dashboard, url)
        with report.step(dashboard.title) as progress:
            panels = []
            for done, panel in enumerate(dashboard.panels):
                panels.append((panel, lines_of(panel, url, values, end_s - seconds, end_s)))
                progress(done + 1, len(dashboard.panels))
        picture = out / f"{file.stem}.png"
        out.mkdir(parents=True, exist_ok=True)
        draw_page(dashboard, values, panels, picture)
        pictures.append(picture)
    return pictures


def chosen(dashboard: DashboardQueries, url: str) -> dict[str, str]:
    """A value for each variable that has no "all": the busiest model, for the one that there is."""
    values = {}
    for variable in dashboard.variables:
        if not variable.has_all:
            known = label_values(url, variable.label, variable.selector)
            busy = {
                sample.labels[variable.label]: sample.value
                for sample in instant(url, f"sum by ({variable.label}) (rate({variable.selector}[5m]))")
            }
            values[variable.name] = max(known, key=lambda name: busy.get(name, 0.0), default="")
    return values


def lines_of(panel: PanelQueries, url: str, values: dict[str, str], start_s: float, end_s: float) -> list[Line]:
    """The series of all queries of a panel."""
    step_s = max(1.0, (end_s - start_s) / STEPS)
    return [
        Line(legend(target.legend, series.labels), series)
        for target in panel.targets
        for series in over_time(url, filled(target.expression, values), start_s, end_s, step_s)
    ]
