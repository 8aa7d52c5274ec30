"""The dashboard of service goals: does each pipeline keep what the contract promises, and if not, since when."""

from __future__ import annotations

from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.builders import timeseries as lines

from ai102.dashboards import variables
from ai102.dashboards.layout import Board, Row
from ai102.dashboards.styles import GREEN, RED, YELLOW, Query, from_anywhere, graph, limits, number

CHOSEN = 'pipeline=~"$pipeline"'


def board() -> Board:
    return Board(
        uid="ai102-overview",
        title="AI-102: service goals",
        about="Whether each pipeline keeps its goals of models.toml, as its callers see it.",
        variables=(variables.pipeline,),
        rows=(
            Row("Now", (success_now, p99_now, alerts_now, replicas_now)),
            Row("Success", (success, failures)),
            Row("Latency", (p99, p50)),
            Row("Budgets", (failure_pace, slowness_pace)),
            Row("Traffic", (arrivals, completions, in_flight, cost)),
        ),
    )


def success_now() -> stats.Panel:
    return number(
        "Success",
        "Answered requests of the last 5 minutes, without refusals and mistakes of callers. The goal of each pipeline "
        "is the line in the panel Success below.",
        "percentunit",
        Query(f"pipeline:success:ratio_rate5m{{{CHOSEN}}}", "{{pipeline}}"),
        span=8,
        colours=limits((0.99, YELLOW), (0.999, GREEN), first=RED),
    ).decimals(2)


def p99_now() -> stats.Panel:
    return number(
        "p99 latency, as a share of its goal",
        "Above 100 % the slowest hundredth of the answers takes longer than models.toml allows.",
        "percentunit",
        Query(
            f"pipeline:latency_seconds:p99_rate5m{{{CHOSEN}}} / on (pipeline) contract:p99_goal:seconds",
            "{{pipeline}}",
        ),
        span=8,
        colours=limits((0.8, YELLOW), (1.0, RED)),
    )


def alerts_now() -> stats.Panel:
    return number(
        "Alerts that fire",
        "Of every severity; `ai102 top` names them, docs has a runbook page for each.",
        "short",
        Query('count(ALERTS{alertstate="firing"}) or vector(0)', "alerts"),
        span=4,
        colours=limits((1, RED)),
    )


def replicas_now() -> stats.Panel:
    return number(
        "Replicas that serve",
        "The share of the gateway's replicas that are up.",
        "percentunit",
        Query("avg(min by (replica) (ai102_gateway_replica_up))", "up"),
        span=4,
        colours=limits((0.5, YELLOW), (1.0, GREEN), first=RED),
    )


def success() -> lines.Panel:
    panel = from_anywhere(
        "Success",
        "Answered requests over 5 minutes, with each pipeline's goal as a line of its own.",
        "percentunit",
        Query(f"pipeline:success:ratio_rate5m{{{CHOSEN}}}", "{{pipeline}}"),
        Query(_goal("contract:success_goal:ratio", "pipeline:success:ratio_rate5m"), "goal of {{pipeline}}"),
    )
    return panel.max(1).axis_soft_min(0.995)


def failures() -> lines.Panel:
    return graph(
        "Requests that got no good answer",
        "By outcome. failed counts against the goal. refused, limited and client_error are the caller's, "
        "cancelled is a caller that gave up.",
        "reqps",
        Query(
            f'sum by (outcome) (rate(ai102_gateway_requests_total{{{CHOSEN},outcome!="ok"}}[$__rate_interval]))',
            "{{outcome}}",
        ),
    )


def p99() -> lines.Panel:
    return graph(
        "p99 latency",
        "99 of 100 answers are faster, measured at the gateway over 5 minutes; with each pipeline's goal.",
        "s",
        Query(f"pipeline:latency_seconds:p99_rate5m{{{CHOSEN}}}", "{{pipeline}}"),
        Query(_goal("contract:p99_goal:seconds", "pipeline:latency_seconds:p99_rate5m"), "goal of {{pipeline}}"),
    )


def p50() -> lines.Panel:
    return graph(
        "p50 latency",
        "Half of the answers are faster, measured at the gateway over 5 minutes.",
        "s",
        Query(f"pipeline:latency_seconds:p50_rate5m{{{CHOSEN}}}", "{{pipeline}}"),
    )


def failure_pace() -> lines.Panel:
    return graph(
        "Pace of failures",
        "1: as many calls fail as the goal allows. The alerts page at 14.4 over an hour, at 6 over six hours.",
        "short",
        *(
            Query(
                f"pipeline:failed:ratio_rate{window}{{{CHOSEN}}} / on (pipeline) pipeline:error_budget:ratio",
                f"{{{{pipeline}}}} over {window}",
            )
            for window in ("1h", "6h")
        ),
    )


def slowness_pace() -> lines.Panel:
    return graph(
        "Pace of slow answers",
        "1: one answer in a hundred takes longer than the goal, as p99 allows. The alerts page at 14.4 and 6.",
        "short",
        *(
            Query(f"pipeline:slow:ratio_rate{window}{{{CHOSEN}}} / 0.01", f"{{{{pipeline}}}} over {window}")
            for window in ("1h", "6h")
        ),
    )


def arrivals() -> lines.Panel:
    return graph(
        "Arrivals",
        "Calls with a right to ask that reach the gateway each second, those too that still wait.",
        "reqps",
        Query(f"pipeline:arrivals:rate1m{{{CHOSEN}}}", "{{pipeline}}"),
    )


def completions() -> lines.Panel:
    return graph(
        "Answers",
        "Requests that got a good answer each second. Fewer than arrive: look at the outcomes above.",
        "reqps",
        Query(f"pipeline:completions:rate1m{{{CHOSEN}}}", "{{pipeline}}"),
    )


def in_flight() -> lines.Panel:
    return graph(
        "In flight",
        "Requests inside the gateway and Triton now. It grows before latency does.",
        "short",
        Query(f"pipeline:in_flight{{{CHOSEN}}}", "{{pipeline}}"),
    )


def cost() -> lines.Panel:
    return graph(
        "Cost of 1,000 answers",
        "The price of the replicas' hours, costs.replica_hour of models.toml, over the answers they gave.",
        "short",
        Query(f"pipeline:cost_per_1000:rate5m{{{CHOSEN}}}", "{{pipeline}}"),
    )


def _goal(goal: str, measured: str) -> str:
    """Of those pipelines that are asked, so that the others' goals are no lines."""
    return f"{goal}{{{CHOSEN}}} and on (pipeline) {measured}"
