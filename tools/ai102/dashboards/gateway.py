"""The dashboard of the gateway: what callers send, what is refused, which replicas get requests."""

from __future__ import annotations

from grafana_foundation_sdk.builders import heatmap as heatmaps
from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.builders import timeseries as lines
from grafana_foundation_sdk.builders.dashboard import QueryVariable

from ai102.dashboards import variables
from ai102.dashboards.layout import Board, Row
from ai102.dashboards.styles import GREEN, RED, YELLOW, Query, graph, limits, number, spread, stacked

CHOSEN = 'pipeline=~"$pipeline"'
REFUSED = f'{CHOSEN},outcome=~"refused|limited"'
NOT_OK = f'{CHOSEN},outcome!="ok"'
REPLICA = 'replica=~"$replica"'
DAY_S = 86400


def board() -> Board:
    return Board(
        uid="ai102-gateway",
        title="AI-102: gateway",
        about="What callers send to the gateway, what it refuses, how long answers take, which replicas get requests.",
        variables=(variables.pipeline, replica),
        rows=(
            Row("Now", (rate_now, refused_now, in_flight_now, certificate_now)),
            Row("Requests", (by_outcome, by_pipeline, by_protocol, refused)),
            Row("Time to an answer", (durations, quantiles)),
            Row("Replicas", (replica_up, replica_in_flight, replica_drained, scrapes)),
            Row("Issuer and friendly API", (service_requests, service_durations, memory, certificates)),
        ),
    )


def replica() -> QueryVariable:
    return variables.several("replica", "Replica", "label_values(ai102_gateway_replica_up, replica)")


def rate_now() -> stats.Panel:
    return number(
        "Requests",
        "Each second, whatever became of them.",
        "reqps",
        Query(_rate(CHOSEN), "requests"),
    )


def refused_now() -> stats.Panel:
    return number(
        "Refused or limited",
        "The share of requests without a right to ask, or over a limit.",
        "percentunit",
        Query(f"{_rate(REFUSED)} / clamp_min({_rate(CHOSEN)}, 1e-9)", "share"),
        colours=limits((0.05, YELLOW), (0.2, RED)),
    )


def in_flight_now() -> stats.Panel:
    return number(
        "In flight",
        "Requests that wait for their answer now.",
        "short",
        Query(f"sum(ai102_gateway_in_flight{{{CHOSEN}}})", "requests"),
    )


def certificate_now() -> stats.Panel:
    return number(
        "First certificate to expire",
        "In days from now.",
        "d",
        Query(f"min(ai102_certificate_expiry_timestamp_seconds - time()) / {DAY_S}", "days"),
        colours=limits((7, YELLOW), (30, GREEN), first=RED),
    ).decimals(0)


def by_outcome() -> lines.Panel:
    return stacked(
        "Requests by outcome",
        "ok: answered. refused: no right. limited: over a limit. client_error: a mistake of the caller. failed: no "
        "answer, or an error of the server. cancelled: the caller gave up.",
        "reqps",
        Query(_rate(CHOSEN, "outcome"), "{{outcome}}"),
    )


def by_pipeline() -> lines.Panel:
    return stacked("Requests by pipeline", "Each second.", "reqps", Query(_rate(CHOSEN, "pipeline"), "{{pipeline}}"))


def by_protocol() -> lines.Panel:
    return stacked("Requests by protocol", "Each second.", "reqps", Query(_rate(CHOSEN, "protocol"), "{{protocol}}"))


def refused() -> lines.Panel:
    return graph(
        "Share of requests that were not ok",
        "By outcome. A step up in refused is a caller with a token that is over, or an attempt.",
        "percentunit",
        Query(
            f"{_rate(NOT_OK, 'outcome')} / ignoring (outcome) group_left () clamp_min({_rate(CHOSEN)}, 1e-9)",
            "{{outcome}}",
        ),
    )


def durations() -> heatmaps.Panel:
    return spread(
        "Answers by their time",
        "How many answers took how long. Two bands are two kinds of requests, or a queue.",
        "s",
        Query(
            f"sum by (le) (rate(ai102_gateway_request_duration_seconds_bucket{{{CHOSEN}}}[$__rate_interval]))", "{{le}}"
        ),
    )


def quantiles() -> lines.Panel:
    return graph(
        "Time to an answer, by protocol",
        "Measured at the gateway, from the first byte of a request to the last of its answer.",
        "s",
        *(Query(_quantile(share), f"p{share * 100:g} {{{{protocol}}}}") for share in (0.5, 0.9, 0.99)),
    )


def replica_up() -> lines.Panel:
    return graph(
        "Replicas that serve",
        "1: gets requests. 0: the gateway's checks fail.",
        "short",
        Query(f"min by (replica) (ai102_gateway_replica_up{{{REPLICA}}})", "{{replica}}"),
    ).max(1)


def replica_in_flight() -> lines.Panel:
    return graph(
        "In flight on each replica",
        "The gateway sends a request to the replica with the fewest: a replica above the others is slow.",
        "short",
        Query(f"sum by (replica) (ai102_gateway_replica_in_flight{{{REPLICA}}})", "{{replica}}"),
    )


def replica_drained() -> lines.Panel:
    return graph(
        "Replicas taken out",
        "1: `ai102 gateway drain` took it out, it gets nothing new. It stays so until `ai102 gateway undrain`.",
        "short",
        Query(f"max by (replica) (ai102_gateway_replica_drained{{{REPLICA}}})", "{{replica}}"),
    ).max(1)


def scrapes() -> lines.Panel:
    return graph(
        "Processes that Prometheus reaches",
        "The share of each job's processes that answered the last scrape. Others are missing in every panel.",
        "percentunit",
        Query("avg by (job) (up)", "{{job}}"),
    ).max(1)


def service_requests() -> lines.Panel:
    return graph(
        "Requests to issuer and API",
        "By status. 401 of the issuer: wrong passwords.",
        "reqps",
        Query("sum by (job, status) (rate(ai102_http_requests_total[$__rate_interval]))", "{{job}} {{status}}"),
    )


def service_durations() -> lines.Panel:
    return graph(
        "Time of issuer and API, p99",
        "The issuer hashes passwords on purpose slowly; the API's time has Triton's in it.",
        "s",
        Query(
            "histogram_quantile(0.99, "
            "sum by (job, le) (rate(ai102_http_request_duration_seconds_bucket[$__rate_interval])))",
            "{{job}}",
        ),
    )


def memory() -> lines.Panel:
    return graph(
        "Memory of our processes",
        "Resident memory. A line that rises for hours is a leak.",
        "bytes",
        Query('sum by (job) (process_resident_memory_bytes{job=~"gateway|issuer|api"})', "{{job}}"),
    )


def certificates() -> lines.Panel:
    return graph(
        "Days until a certificate or key expires",
        "`ai102 gateway reload` takes a new certificate, `ai102 auth rotate-keys` makes a new key.",
        "d",
        Query(
            f"min by (certificate) (ai102_certificate_expiry_timestamp_seconds - time()) / {DAY_S}", "{{certificate}}"
        ),
        Query(f"max(ai102_signing_key_expiry_timestamp_seconds - time()) / {DAY_S}", "the issuer's signing key"),
    )


def _rate(selector: str, by: str = "") -> str:
    group = f" by ({by}) " if by else ""
    return f"sum{group}(rate(ai102_gateway_requests_total{{{selector}}}[$__rate_interval]))"


def _quantile(share: float) -> str:
    buckets = f"ai102_gateway_request_duration_seconds_bucket{{{CHOSEN}}}[$__rate_interval]"
    return f"histogram_quantile({share:g}, sum by (protocol, le) (rate({buckets})))"
