"""The dashboard of asynchronous jobs: what waits and how long, what is done, how full calls are, what failed."""

from __future__ import annotations

from grafana_foundation_sdk.builders import heatmap as heatmaps
from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.builders import timeseries as lines

from ai102.dashboards.layout import Board, Row
from ai102.dashboards.styles import RED, YELLOW, Query, graph, limits, number, spread, stacked


def board() -> Board:
    return Board(
        uid="ai102-jobs",
        title="AI-102: jobs",
        about="Jobs that wait and how long, what workers do, how full their calls are, what failed or was lost.",
        variables=(),
        rows=(
            Row("Now", (queued_now, oldest_now, done_now, dead_now)),
            Row("Waiting", (queued, oldest)),
            Row("Done", (by_state, call_items, begun_after, in_hand)),
            Row("Trouble", (given_back, taken_up, unfetched, polite)),
            Row("Handing in", (calls, call_durations)),
        ),
    )


def queued_now() -> stats.Panel:
    return number(
        "Jobs that wait", "Of all priorities.", "short", Query(f"sum({_largest('ai102_jobs_queued')})", "jobs")
    )


def oldest_now() -> stats.Panel:
    return number(
        "Longest wait",
        "The age of the job that waits longest, those of low priority aside.",
        "s",
        Query('max(ai102_jobs_oldest_queued_seconds{priority!="low"})', "age"),
        colours=limits((300, YELLOW), (900, RED)),
    )


def done_now() -> stats.Panel:
    return number(
        "Jobs done", "Each second.", "reqps", Query("sum(rate(ai102_jobs_ended_total[$__rate_interval]))", "jobs")
    )


def dead_now() -> stats.Panel:
    return number(
        "Dead letters",
        "Jobs that were given up after five attempts. `ai102 jobs dead` has the reasons.",
        "short",
        Query("max(ai102_jobs_dead)", "jobs"),
        colours=limits((1, RED)),
    )


def queued() -> lines.Panel:
    return stacked(
        "Jobs that wait, by priority", "In the ledger.", "short", Query(_largest("ai102_jobs_queued"), "{{priority}}")
    )


def oldest() -> lines.Panel:
    return graph(
        "Longest wait, by priority",
        "Grows by a second each second where nothing of that priority is begun.",
        "s",
        Query(_largest("ai102_jobs_oldest_queued_seconds"), "{{priority}}"),
    )


def by_state() -> lines.Panel:
    return stacked(
        "Jobs that ended, by state",
        "failed: the model refused the input. dead: given up after five attempts.",
        "reqps",
        Query("sum by (state) (rate(ai102_jobs_ended_total[$__rate_interval]))", "{{state}}"),
    )


def call_items() -> lines.Panel:
    return graph(
        "Jobs in a call to Triton",
        "The mean, by model. Under load it should be near the model's largest batch, unless direct calls go first.",
        "short",
        Query(
            "sum by (model) (rate(ai102_jobs_call_items_sum[$__rate_interval])) "
            "/ sum by (model) (rate(ai102_jobs_call_items_count[$__rate_interval]))",
            "{{model}}",
        ),
    )


def begun_after() -> heatmaps.Panel:
    return spread(
        "From accepted to begun",
        "How many jobs waited how long.",
        "s",
        Query("sum by (le) (rate(ai102_jobs_begun_after_seconds_bucket[$__rate_interval]))", "{{le}}"),
    )


def in_hand() -> lines.Panel:
    return graph(
        "Jobs with workers",
        "Claimed and not ended, by worker. 0 while jobs wait: Triton is away, or the worker hangs.",
        "short",
        Query("ai102_jobs_in_hand", "{{instance}}"),
    )


def given_back() -> lines.Panel:
    return graph(
        "Attempts that failed",
        "Through no fault of the input, by model: Triton ended, or took too long.",
        "reqps",
        Query("sum by (model) (rate(ai102_jobs_given_back_total[$__rate_interval])) or vector(0)", "{{model}}"),
    )


def taken_up() -> lines.Panel:
    return graph(
        "Taken up again",
        "Jobs that a queue or a worker had lost. A step: one of them was killed, or the broker was emptied.",
        "reqps",
        Query("sum(rate(ai102_jobs_taken_up_total[$__rate_interval]))", "jobs"),
    )


def unfetched() -> lines.Panel:
    return graph(
        "Results that nobody fetched",
        "They are removed within an hour.",
        "short",
        Query("max(ai102_jobs_unfetched)", "results"),
    )


def polite() -> lines.Panel:
    return graph(
        "Direct calls go first",
        "1 while jobs leave room for direct calls, by worker.",
        "short",
        Query("ai102_jobs_polite", "{{instance}}"),
    )


def calls() -> lines.Panel:
    return stacked(
        "Calls to /v1/jobs",
        "By status. 429: the queue is full. 503: the ledger does not answer.",
        "reqps",
        Query('sum by (status) (rate(ai102_http_requests_total{route=~"/v1/jobs.*"}[$__rate_interval]))', "{{status}}"),
    )


def call_durations() -> lines.Panel:
    return graph(
        "Time of the calls that hand in",
        "From a request's headers to its answer: nine of ten are faster.",
        "s",
        Query(
            "histogram_quantile(0.9, sum by (le) "
            '(rate(ai102_http_request_duration_seconds_bucket{route="/v1/jobs"}[$__rate_interval])))',
            "p90",
        ),
    )


def _largest(metric: str) -> str:
    """Every API that reads a ledger says the same."""
    return f"max by (priority) ({metric})"
