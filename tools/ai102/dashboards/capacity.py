"""The dashboard of capacity: how much of the replicas is used, what that costs, and what the machines have left."""

from __future__ import annotations

from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.builders import timeseries as lines

from ai102.dashboards import variables
from ai102.dashboards.layout import Board, Row
from ai102.dashboards.styles import RED, YELLOW, Query, graph, limits, number, stacked

CHOSEN = 'pipeline=~"$pipeline"'
# Of a machine, not of what is mounted inside it for a process.
OUTSIDE = 'job="node",device!="lo"'
DISKS = 'job="node",fstype!~"tmpfs|overlay|squashfs|ramfs"'


def board() -> Board:
    return Board(
        uid="ai102-capacity",
        title="AI-102: capacity",
        about="How much of the measured capacity is used, where, at what cost, and what the machines have left.",
        variables=(variables.pipeline, variables.replica),
        rows=(
            Row("Now", (used_now, replicas_now, cost_now, disk_now)),
            Row("Capacity", (used, used_in_flight)),
            Row("Replicas", (in_flight, inferences, waiting, scraping)),
            Row("Cost", (cost, answers)),
            Row("Machines", (processor, memory, disk, network)),
        ),
    )


def used_now() -> stats.Panel:
    return number(
        "Capacity used",
        "Arriving calls of all pipelines, over what loadtest/capacity.json says the replicas carry within the goals.",
        "percentunit",
        Query("gateway:capacity_used:ratio", "all pipelines"),
        colours=limits((0.7, YELLOW), (0.9, RED)),
    )


def replicas_now() -> stats.Panel:
    return number(
        "Replicas",
        "That the gateway sends requests to.",
        "short",
        Query("sum(min by (replica) (ai102_gateway_replica_up))", "up"),
    )


def cost_now() -> stats.Panel:
    return number(
        "Cost of 1,000 answers",
        "The price of the replicas' hours, costs.replica_hour of models.toml, over the answers they gave.",
        "short",
        Query(f"pipeline:cost_per_1000:rate5m{{{CHOSEN}}}", "{{pipeline}}"),
    ).decimals(4)


def disk_now() -> stats.Panel:
    return number(
        "Fullest disk",
        "The share that is used.",
        "percentunit",
        Query(f"max({_disk_used()})", "used"),
        colours=limits((0.8, YELLOW), (0.9, RED)),
    )


def used() -> lines.Panel:
    return stacked(
        "Capacity used, by arriving calls",
        "Pipelines share the replicas, so their shares add up. Above 100 % latency leaves its goal.",
        "percentunit",
        Query(f"pipeline:capacity_used:ratio{{{CHOSEN}}}", "{{pipeline}}"),
    )


def used_in_flight() -> lines.Panel:
    return stacked(
        "Capacity used, by calls in flight",
        "The same by what is under way: it rises first when answers become slow.",
        "percentunit",
        Query(f"pipeline:in_flight_used:ratio{{{CHOSEN}}}", "{{pipeline}}"),
    )


def in_flight() -> lines.Panel:
    return graph(
        "In flight on each replica",
        "Requests that a replica has now.",
        "short",
        Query('replica:in_flight{replica=~"$replica"}', "{{replica}}"),
    )


def inferences() -> lines.Panel:
    return graph(
        "Inferences on each replica",
        "Items computed each second, all models together.",
        "reqps",
        Query('sum by (replica) (rate(nv_inference_count{replica=~"$replica"}[$__rate_interval]))', "{{replica}}"),
    )


def waiting() -> lines.Panel:
    return graph(
        "Requests that wait, by model",
        "In the queues of all replicas. It grows without end where more arrives than is answered.",
        "short",
        Query("sum by (model) (model:pending)", "{{model}}"),
    )


def scraping() -> lines.Panel:
    return graph(
        "Series in Prometheus",
        "What Prometheus keeps in memory; it grows with pipelines, models and replicas, never with callers.",
        "short",
        Query("sum(prometheus_tsdb_head_series)", "series"),
    )


def cost() -> lines.Panel:
    return graph(
        "Cost of 1,000 answers",
        "It falls as the replicas are used better.",
        "short",
        Query(f"pipeline:cost_per_1000:rate5m{{{CHOSEN}}}", "{{pipeline}}"),
    )


def answers() -> lines.Panel:
    return graph(
        "Answers",
        "Good answers each second.",
        "reqps",
        Query(f"pipeline:completions:rate1m{{{CHOSEN}}}", "{{pipeline}}"),
    )


def processor() -> lines.Panel:
    return graph(
        "Processor",
        "The share of all cores that is busy.",
        "percentunit",
        Query(
            '1 - avg by (instance) (rate(node_cpu_seconds_total{job="node",mode="idle"}[$__rate_interval]))',
            "{{instance}}",
        ),
    ).max(1)


def memory() -> lines.Panel:
    return graph(
        "Memory",
        "The share that no process can get.",
        "percentunit",
        Query(
            '1 - node_memory_MemAvailable_bytes{job="node"} / node_memory_MemTotal_bytes{job="node"}', "{{instance}}"
        ),
    ).max(1)


def disk() -> lines.Panel:
    return graph(
        "Disks",
        "The share that is used.",
        "percentunit",
        Query(f"max by (instance, mountpoint) ({_disk_used()})", "{{instance}} {{mountpoint}}"),
    ).max(1)


def network() -> lines.Panel:
    return graph(
        "Network",
        "Bytes that a machine receives and sends each second.",
        "Bps",
        *(
            Query(
                f"sum by (instance) (rate(node_network_{way}_bytes_total{{{OUTSIDE}}}[$__rate_interval]))",
                f"{{{{instance}}}} {word}",
            )
            for way, word in (("receive", "in"), ("transmit", "out"))
        ),
    )


def _disk_used() -> str:
    return f"1 - node_filesystem_avail_bytes{{{DISKS}}} / node_filesystem_size_bytes{{{DISKS}}}"
