"""The table of rules, causes before their consequences, and what they find in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ai102.cluster import certificates, nodes, pulling, restarting, scaling, starting, workloads
from ai102.cluster.facts import Facts
from ai102.cluster.finding import Finding, grouped

Rule = Callable[[Facts], Iterable[Finding]]
RULES: tuple[Rule, ...] = (
    nodes.node_is_not_ready,
    nodes.node_is_short,
    starting.pods_are_refused,
    starting.claim_is_not_bound,
    starting.no_node_has_room,
    pulling.image_is_not_pulled,
    starting.configuration_is_missing,
    restarting.container_is_out_of_memory,
    restarting.liveness_probe_fails,
    restarting.startup_takes_too_long,
    restarting.container_crashes,
    certificates.certificate_ends,
    certificates.certificate_is_not_issued,
    scaling.scaling_does_not_work,
    scaling.scaling_has_no_figures,
    workloads.budget_blocks_drain,
    workloads.rollout_is_stuck,
    workloads.two_releases_run,
    workloads.replicas_share_a_node,
    nodes.node_is_cordoned,
    nodes.pod_was_evicted,
    scaling.scaling_is_at_its_most,
    scaling.quota_is_full,
)


def findings(facts: Facts) -> list[Finding]:
    """What is wrong first, then notes; in each the causes before their consequences."""
    causes = [finding for rule in RULES for finding in rule(facts)]
    explained = frozenset(name for each in causes if each.level == "wrong" for name in each.workloads)
    consequences = [*workloads.gateway_has_no_replica(facts)]
    explained |= {name for each in consequences for name in each.workloads}
    consequences += workloads.pods_are_missing(facts, explained)
    return sorted(grouped([*causes, *consequences]), key=lambda each: each.level != "wrong")


def is_healthy(findings: Iterable[Finding]) -> bool:
    return all(each.level != "wrong" for each in findings)
