"""Whether the scalers see their figures, and whether they may do what they want."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ai102.cluster.facts import Condition, Facts
from ai102.cluster.finding import Finding, command, line
from ai102.cluster.quantities import number_of


def scaling_does_not_work(facts: Facts) -> Iterator[Finding]:
    """Of ScaledObjects, and of scalers without one."""
    for scaled in facts.scaled:
        ready, name = _of(scaled.conditions, "Ready"), f"scaledobject {scaled.name}"
        if ready is not None and not ready.is_true:
            why = f"KEDA cannot scale {scaled.target}: {line(ready.message or ready.reason)}"
            yield Finding("scaling_does_not_work", "wrong", name, why, _see(facts, "scaledobject", scaled.name))
    for scaler in facts.scalers:
        for condition in scaler.conditions:
            if (
                condition.kind in ("ScalingActive", "AbleToScale")
                and not condition.is_true
                and condition.reason != "ScalingDisabled"
            ):
                why = f"{scaler.target} is not scaled: {condition.reason}: {line(condition.message)}"
                mend = "check the source of its metrics: Prometheus, metrics-server or the adapter"
                yield Finding("scaling_does_not_work", "wrong", f"scaler {scaler.name}", why, mend)
                break


def scaling_has_no_figures(facts: Facts) -> Iterator[Finding]:
    """KEDA's fallback: the replicas stay as they are, and at least the fewest."""
    for scaled in facts.scaled:
        fallback = _of(scaled.conditions, "Fallback")
        if fallback is not None and fallback.is_true:
            why = f"KEDA gets no figures for {', '.join(scaled.triggers)}, so {scaled.target} stays at its fallback"
            mend = "see that Prometheus answers and has the rules of monitoring/; the overlay's serverAddress names it"
            yield Finding("scaling_has_no_figures", "wrong", f"scaledobject {scaled.name}", why, mend)
        paused = _of(scaled.conditions, "Paused")
        if paused is not None and paused.is_true:
            mend = "remove the annotation autoscaling.keda.sh/paused"
            yield Finding("scaling_is_paused", "note", f"scaledobject {scaled.name}", "scaling is paused", mend)


def scaling_is_at_its_most(facts: Facts) -> Iterator[Finding]:
    for scaler in facts.scalers:
        limited = _of(scaler.conditions, "ScalingLimited")
        if limited is not None and limited.is_true and limited.reason == "TooManyReplicas":
            why = f"{scaler.target} has {scaler.now} replicas, the most allowed, and more are wanted"
            mend = "raise max_replicas in [scaling] of models.toml, render and apply; or add nodes"
            yield Finding("scaling_is_at_its_most", "note", f"scaler {scaler.name}", why, mend)


def quota_is_full(facts: Facts) -> Iterator[Finding]:
    for quota in facts.quotas:
        full = [
            name
            for name, most in quota.hard.items()
            if name in quota.used and number_of(quota.used[name]) >= number_of(most) > 0
        ]
        if full:
            why = f"nothing is left of {', '.join(full)}: the next pod would be refused"
            yield Finding("quota_is_full", "note", f"quota {quota.name}", why, _see(facts, "quota", quota.name))


def _of(conditions: Sequence[Condition], kind: str) -> Condition | None:
    return next((each for each in conditions if each.kind == kind), None)


def _see(facts: Facts, kind: str, name: str) -> str:
    return command(facts, f"describe {kind} {name}")
