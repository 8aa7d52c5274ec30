"""The dashboard of one model inside Triton: traffic, latency, batching, queue."""

from __future__ import annotations

from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.builders import timeseries as lines

from ai102.dashboards import variables
from ai102.dashboards.layout import Board, Row
from ai102.dashboards.styles import RED, YELLOW, Query, graph, limits, number, stacked

ONE = 'model="$model"'
HERE = f'{ONE},replica=~"$replica"'


def board() -> Board:
    return Board(
        uid="ai102-model",
        title="AI-102: one model",
        about="What one model is asked inside Triton, how long that takes, whether batches form, what waits.",
        variables=(variables.model, variables.replica),
        rows=(
            Row("Now", (rate_now, duration_now, batch_now, queue_now)),
            Row("Traffic", (inferences, answers, failures, by_replica)),
            Row("Latency", (mean_duration, parts_of_a_request)),
            Row("Batching and queue", (batch_size, queue_share, pending, busy)),
        ),
    )


def rate_now() -> stats.Panel:
    return number(
        "Inferences",
        "Items that the model computed each second; a request with a batch of 8 counts 8 times.",
        "reqps",
        Query(f"sum(model:inferences:rate1m{{{ONE}}})", "inferences"),
    )


def duration_now() -> stats.Panel:
    return number(
        "Mean time of a request",
        "From its arrival at the model to its answer, queue included. Triton counts a sum, so this is a mean; "
        "the quantiles that a caller sees are on the dashboard of service goals.",
        "s",
        Query(f"max(model:duration_seconds:mean_rate5m{{{ONE}}})", "mean"),
    )


def batch_now() -> stats.Panel:
    return number(
        "Mean batch",
        "Items of one execution. 1 means that requests never share a run.",
        "short",
        Query(f"max(model:batch_size:mean_rate5m{{{ONE}}})", "items"),
    ).decimals(1)


def queue_now() -> stats.Panel:
    return number(
        "Time spent in the queue",
        "The share of a request's time that it waits before it is computed. Above one half the model needs another "
        "instance or replica, or a smaller batching delay.",
        "percentunit",
        Query(f"max(model:queue_share:ratio_rate5m{{{ONE}}})", "queue"),
        colours=limits((0.5, YELLOW), (0.8, RED)),
    )


def inferences() -> lines.Panel:
    return graph(
        "Inferences and executions",
        "Inferences above executions: requests share a run.",
        "reqps",
        Query(f"sum(model:inferences:rate1m{{{ONE}}})", "inferences"),
        Query(f"sum(model:executions:rate1m{{{ONE}}})", "executions"),
    )


def answers() -> lines.Panel:
    return graph(
        "Requests that succeed",
        "Requests that the model answered each second, batches counted once.",
        "reqps",
        Query(f"sum(rate(nv_inference_request_success{{{HERE}}}[$__rate_interval]))", "requests"),
    )


def failures() -> lines.Panel:
    return graph(
        "Failures by reason",
        "REJECTED: the queue was full or timed out. CANCELED: the caller gave up. BACKEND: the model failed. "
        "OTHER: Triton could not run it, for example a wrong shape.",
        "reqps",
        Query(
            f"sum by (reason) (rate(nv_inference_request_failure{{{HERE}}}[$__rate_interval]))",
            "{{reason}}",
        ),
    )


def by_replica() -> lines.Panel:
    return graph(
        "Inferences of each replica",
        "The gateway spreads requests evenly: a line far from the others is a replica with a problem.",
        "reqps",
        Query(f"sum by (replica) (rate(nv_inference_count{{{HERE}}}[$__rate_interval]))", "{{replica}}"),
    )


def mean_duration() -> lines.Panel:
    return graph(
        "Mean time of a request, by replica",
        "From its arrival at the model to its answer.",
        "s",
        Query(_per_request("request", "replica"), "{{replica}}"),
    )


def parts_of_a_request() -> lines.Panel:
    return stacked(
        "Where a request's time goes",
        "Mean of each part. input and output: copies of tensors.",
        "s",
        *(
            Query(_per_request(part), name)
            for part, name in (
                ("queue", "queue"),
                ("compute_input", "input"),
                ("compute_infer", "compute"),
                ("compute_output", "output"),
            )
        ),
    )


def batch_size() -> lines.Panel:
    return graph(
        "Mean batch",
        "Items of one execution over 5 minutes.",
        "short",
        Query(f"max(model:batch_size:mean_rate5m{{{ONE}}})", "items"),
    )


def queue_share() -> lines.Panel:
    return graph(
        "Share of time in the queue",
        "Over 5 minutes.",
        "percentunit",
        Query(f"max(model:queue_share:ratio_rate5m{{{ONE}}})", "queue"),
    )


def pending() -> lines.Panel:
    return graph(
        "Requests that wait",
        "Requests in the model's queue at the moment of a scrape. It grows while more arrive than are answered.",
        "short",
        Query(f"sum by (replica) (nv_inference_pending_request_count{{{HERE}}})", "{{replica}}"),
    )


def busy() -> lines.Panel:
    return graph(
        "Requests in the model",
        "Requests under way in the model on average, queue included: their rate times their duration.",
        "short",
        Query(
            f"sum by (replica) (rate(nv_inference_request_duration_us{{{HERE}}}[$__rate_interval])) / 1e6",
            "{{replica}}",
        ),
    )


def _per_request(part: str, by: str = "") -> str:
    """The mean time of that part of a request, in seconds; 0 while there are no requests."""
    group = f" by ({by})" if by else ""
    chosen = f"{{{HERE}}}[$__rate_interval]"
    spent = f"sum{group} (rate(nv_inference_{part}_duration_us{chosen}))"
    return f"{spent} / clamp_min(sum{group} (rate(nv_inference_request_success{chosen})), 1e-9) / 1e6"
