"""The queries of a dashboard's JSON, of its panels and of its variables, as Grafana sends them to Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

# What Grafana makes of $__rate_interval for a graph of half an hour at a scrape each 15 s: four scrapes.
RATE_INTERVAL = "1m"
LABEL_VALUES = re.compile(r"^label_values\((?P<selector>.+), *(?P<label>\w+)\)$")


class Target(NamedTuple):
    """One query of a panel."""

    ref: str
    expression: str
    legend: str


class Place(NamedTuple):
    """Where a panel lies on Grafana's grid, which is 24 wide."""

    x: int
    y: int
    width: int
    height: int


class PanelQueries(NamedTuple):
    """What one panel shows; `kind` is Grafana's word: timeseries, stat, heatmap."""

    number: int
    title: str
    kind: str
    unit: str
    place: Place
    is_stacked: bool
    is_from_zero: bool
    limits: tuple[tuple[float | None, str], ...]  # the colour from each value on
    targets: tuple[Target, ...]

    @property
    def unit_of_values(self) -> str:
        """A heatmap's unit is that of its axis; its values are observations each second."""
        return "reqps" if self.kind == "heatmap" else self.unit


class VariableQuery(NamedTuple):
    """A choice at the top of a dashboard, filled from the values of a label."""

    name: str
    selector: str
    label: str
    has_all: bool


class DashboardQueries(NamedTuple):
    uid: str
    title: str
    variables: tuple[VariableQuery, ...]
    panels: tuple[PanelQueries, ...]
    rows: tuple[tuple[str, int], ...]  # headings, and where they stand


def queries_from_file(path: Path) -> DashboardQueries:
    """All queries of one dashboard. Raises ValueError for a variable whose query is of a form unknown here."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return DashboardQueries(
        content["uid"],
        content["title"],
        tuple(_variable(entry) for entry in content["templating"]["list"] if entry["type"] == "query"),
        tuple(_panel(panel) for panel in content["panels"] if panel["type"] != "row"),
        tuple((panel["title"], panel["gridPos"]["y"]) for panel in content["panels"] if panel["type"] == "row"),
    )


def filled(expression: str, values: Mapping[str, str], rate_interval: str = RATE_INTERVAL) -> str:
    """The expression with Grafana's variables replaced; a variable without a value here stands for all: `.*`."""

    def value(found: re.Match[str]) -> str:
        name = found["name"]
        return rate_interval if name == "__rate_interval" else values.get(name, ".*")

    return re.sub(r"\$(?P<brace>\{)?(?P<name>\w+)(?(brace)\})", value, expression)


def legend(template: str, labels: Mapping[str, str]) -> str:
    """A series's name: {{label}} stands for that label's value."""
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), template)


def _variable(entry: Mapping[str, Any]) -> VariableQuery:
    match = LABEL_VALUES.match(entry["query"])
    if match is None:
        raise ValueError(f"variable {entry['name']}: {entry['query']!r} is not label_values(SELECTOR, LABEL)")
    return VariableQuery(entry["name"], match["selector"], match["label"], bool(entry.get("includeAll")))


def _panel(panel: Mapping[str, Any]) -> PanelQueries:
    defaults, grid = panel["fieldConfig"]["defaults"], panel["gridPos"]
    return PanelQueries(
        panel["id"],
        panel["title"],
        panel["type"],
        defaults.get("unit") or panel["options"]["yAxis"]["unit"],
        Place(grid["x"], grid["y"], grid["w"], grid["h"]),
        defaults.get("custom", {}).get("stacking", {}).get("mode", "none") != "none",
        defaults.get("min") == 0,
        tuple((step["value"], step["color"]) for step in defaults.get("thresholds", {}).get("steps", ())),
        tuple(Target(one["refId"], one["expr"], one["legendFormat"]) for one in panel["targets"]),
    )
