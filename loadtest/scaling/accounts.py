"""What a run cost and what its callers saw: pod-seconds, the share of calls over the goal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Called:
    """One call: when it was due, and how long its answer took from then on; None without an answer."""

    due_s: float
    latency_ms: float | None


@dataclass(frozen=True)
class Lived:
    """From a pod's creation until it was gone; None: it was there at the end."""

    created_s: float
    gone_s: float | None


@dataclass(frozen=True)
class Account:
    """One run of one policy."""

    calls: int
    failed: int
    over_goal_percent: float  # failed calls among them
    p50_ms: float
    p99_ms: float
    pod_seconds: float
    most_pods: int


def account(calls: Sequence[Called], pods: Mapping[str, Lived], length_s: float, goal_ms: float) -> Account:
    """Of the calls that were due in `length_s`, and of the pods that lived then. All times are from the run's start."""
    answered = sorted(call.latency_ms for call in calls if call.latency_ms is not None)
    over = sum(call.latency_ms is None or call.latency_ms > goal_ms for call in calls)
    return Account(
        calls=len(calls),
        failed=len(calls) - len(answered),
        over_goal_percent=100 * over / len(calls) if calls else math.nan,
        p50_ms=percentile(answered, 50),
        p99_ms=percentile(answered, 99),
        pod_seconds=sum(seconds_of(pod, length_s) for pod in pods.values()),
        most_pods=most_at_once(pods, length_s),
    )


def seconds_of(pod: Lived, length_s: float) -> float:
    """How long a pod was there in the time from 0 to `length_s`: also while it starts and while it drains."""
    gone_s = length_s if pod.gone_s is None else min(pod.gone_s, length_s)
    return max(0.0, gone_s - max(pod.created_s, 0.0))


def most_at_once(pods: Mapping[str, Lived], length_s: float) -> int:
    moments = {max(0.0, pod.created_s) for pod in pods.values() if pod.created_s < length_s}
    return max((sum(_is_there(pod, moment) for pod in pods.values()) for moment in moments), default=0)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of them do not exceed; not a number where there is none."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else math.nan


def _is_there(pod: Lived, moment: float) -> bool:
    return pod.created_s <= moment and (pod.gone_s is None or pod.gone_s > moment)
