"""How panels look: a title, a sentence that says how to read it, a unit, and queries."""

from __future__ import annotations

from typing import NamedTuple

from grafana_foundation_sdk.builders import common as shapes
from grafana_foundation_sdk.builders import heatmap as heatmaps
from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.builders import timeseries as lines
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common, heatmap
from grafana_foundation_sdk.models.dashboard import Threshold, ThresholdsMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, RED, PLAIN = "green", "yellow", "red", "blue"
STAT_HEIGHT, GRAPH_HEIGHT = 5, 8


class Query(NamedTuple):
    """A query in PromQL, and how Grafana names each of its series, as in {{pipeline}}."""

    expression: str
    legend: str


def graph(title: str, description: str, unit: str, *queries: Query, span: int = 12) -> lines.Panel:
    """Lines over time, from zero on; the table below has the last and the mean value of each."""
    return from_anywhere(title, description, unit, *queries, span=span).min(0)


def from_anywhere(title: str, description: str, unit: str, *queries: Query, span: int = 12) -> lines.Panel:
    """Lines over time, on an axis that begins near the lowest."""
    panel = (
        lines.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(span)
        .height(GRAPH_HEIGHT)
        .line_width(1)
        .fill_opacity(8)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            shapes.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "mean"])
        )
        .tooltip(shapes.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
    )
    return panel.targets(targets(*queries))


def stacked(title: str, description: str, unit: str, *queries: Query, span: int = 12) -> lines.Panel:
    """Areas that add up to a whole."""
    stacking = shapes.StackingConfig().mode(common.StackingMode.NORMAL)
    return graph(title, description, unit, *queries, span=span).stacking(stacking).fill_opacity(35)


def number(
    title: str, description: str, unit: str, *queries: Query, span: int = 6, colours: ThresholdsConfig | None = None
) -> stats.Panel:
    """The last value of each series, large, on a background of its colour; without `colours` none means trouble."""
    panel = (
        stats.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(span)
        .height(STAT_HEIGHT)
        .color_mode(common.BigValueColorMode.BACKGROUND)
        .graph_mode(common.BigValueGraphMode.AREA)
        # Grafana's own default turns red at 80, whatever the unit.
        .thresholds(colours or limits(first=PLAIN))
        .text_mode(common.BigValueTextMode.VALUE_AND_NAME)
        .reduce_options(shapes.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    return panel.targets(targets(*queries))


def spread(title: str, description: str, unit: str, query: Query, span: int = 12) -> heatmaps.Panel:
    """A histogram's buckets over time; the more observations, the darker."""
    panel = (
        heatmaps.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .span(span)
        .height(GRAPH_HEIGHT)
        .calculate(False)
        .color(heatmaps.HeatmapColorOptions().mode(heatmap.HeatmapColorMode.SCHEME).scheme("Blues").steps(32))
        .y_axis(heatmaps.YAxisConfig().unit(unit))
    )
    return panel.with_target(_target(query, "A").format(PromQueryFormat.HEATMAP))


def limits(*steps: tuple[float, str], first: str = GREEN) -> ThresholdsConfig:
    """The colour from each value on; below the lowest it is `first`."""
    known = [Threshold(value=None, color=first), *(Threshold(value=value, color=colour) for value, colour in steps)]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(known)


def targets(*queries: Query) -> list[Builder[variants.Dataquery]]:
    return [_target(query, chr(ord("A") + place)) for place, query in enumerate(queries)]


def _target(query: Query, ref: str) -> Dataquery:
    return Dataquery().datasource(DATASOURCE).expr(query.expression).legend_format(query.legend).ref_id(ref)
