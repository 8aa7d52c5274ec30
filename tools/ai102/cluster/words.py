"""The state of a cluster for programs: one JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ai102.cluster.facts import Facts
from ai102.cluster.finding import Finding
from ai102.cluster.release import release
from ai102.cluster.rules import is_healthy
from ai102.cluster.screen import state_of


def as_dict(facts: Facts, findings: Sequence[Finding]) -> dict[str, Any]:
    """Times are seconds since 1970; `unread` says what could not be read."""
    return {
        "healthy": is_healthy(findings),
        "namespace": facts.namespace,
        "context": facts.context,
        "time": round(facts.now_s, 3),
        "findings": [_finding(each) for each in findings],
        "workloads": [asdict(each) for each in facts.workloads],
        "pods": [
            {
                "name": pod.name,
                "workload": pod.workload,
                "role": pod.role,
                "state": state_of(pod),
                "ready": pod.is_ready,
                "node": pod.node,
                "created": pod.created_s,
                "restarts": pod.restarts,
            }
            for pod in facts.running
        ],
        "release": [
            {"image": part.image.name, "version": part.image.version, "pods": part.pods, "of": part.of,
             "workloads": list(part.workloads)}
            for part in release(facts)
        ],
        "scaling": [asdict(each) for each in facts.scalers],
        "nodes": [
            {"name": node.name, "ready": node.is_ready, "cordoned": node.is_cordoned, "version": node.version}
            for node in facts.nodes
        ],
        "certificate": asdict(facts.certificate) if facts.certificate else None,
        "unread": list(facts.unread),
    }  # fmt: skip


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "level": finding.level,
        "about": finding.about,
        "pods": list(finding.pods),
        "why": finding.why,
        "next": finding.mend,
    }
