"""What Prometheus, Zipkin and the masked logs of the cluster know, asked inside of their pods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from k8s.local import machines
from k8s.local.plan import NODES, Plan
from tests.cluster.overlays.calls import asked
from tests.cluster.overlays.site import Site

SPOOL = "lib/ai102/spool/masked"
# Targets of one pod each; of the others there are as many as pods.
ALONE = ("issuer", "prometheus", "alertmanager")


def targets(site: Site) -> dict[str, list[str]]:
    """The health of every target, by its job."""
    answer = asked(site, "prometheus-0", 9090, "/api/v1/targets?state=active")
    rows: dict[str, list[str]] = {}
    for row in answer["data"]["activeTargets"] if answer else []:
        rows.setdefault(row["labels"]["job"], []).append(row["health"])
    return rows


def wanted_targets(site: Site) -> dict[str, list[str]]:
    counts = {name: len(site.pods(name)) for name in ("triton", "gateway", "api")} | dict.fromkeys(ALONE, 1)
    return {name: ["up"] * count for name, count in counts.items()}


def ailing_rules(site: Site) -> list[str] | None:
    """The rules that Prometheus could not evaluate; None while it has not evaluated all once."""
    answer = asked(site, "prometheus-0", 9090, "/api/v1/rules")
    rules = [rule for group in answer["data"]["groups"] for rule in group["rules"]] if answer else []
    if not rules or any(rule["health"] == "unknown" for rule in rules):
        return None
    return [rule["name"] for rule in rules if rule["health"] != "ok"]


def services_of(site: Site, trace_id: str) -> set[str]:
    """The services whose spans of a trace Zipkin has."""
    (pod,) = site.pods("zipkin")
    spans = asked(site, pod["metadata"]["name"], 9411, f"/api/v2/trace/{trace_id}") or []
    return {span["localEndpoint"]["serviceName"] for span in spans}


def documents(plan: Plan) -> Iterator[dict[str, Any]]:
    """The masked documents of every node."""
    for node in NODES:
        for file in sorted((machines.var_of(plan, node) / SPOOL).glob("masked-*.jsonl")):
            yield from (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
