"""The runs: a trace replayed, a step of the load with its parts, an outage of Prometheus at the peak."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ai102.errors import UserError
from ai102.kubernetes.scaling import ARRIVALS, IN_FLIGHT, Thresholds
from ai102.prometheus.api import over_time
from loadtest.scaling.accounts import Account, account
from loadtest.scaling.calibrating import Carried
from loadtest.scaling.kubectl import NAMESPACE, Kubectl
from loadtest.scaling.load import Callers, Driven, drive
from loadtest.scaling.replay import step_times
from loadtest.scaling.setting_up import is_ready, prometheus_url, wait
from loadtest.scaling.watching import Seen, Watch

# An HPA leaves the replicas alone for as long as the ratio is nearer to 1 than that.
TOLERANCE = 0.1
# Of a start: calls a second meanwhile, and when the replica is asked for, is to end, and the calls end.
STARTING_RATE = 15.0
STARTING_S = (2.0, 50.0, 68.0)


@dataclass(frozen=True)
class Run:
    """What was sent, what callers saw and what the replicas cost."""

    account: Account
    driven: Driven
    desired: tuple[tuple[float, int], ...]  # seconds from the start, and replicas that were wanted


@dataclass(frozen=True)
class Parts:
    """Seconds from the step of the load on; the last is the new replica's first answer through the gateway."""

    metric_s: float  # Prometheus could have said that one replica is not enough
    decided_s: float
    created_s: float
    scheduled_s: float
    started_s: float
    ready_s: float
    answered_s: float


@dataclass(frozen=True)
class Started:
    """Seconds from a pod's creation on, and what callers saw until the replica had gone again."""

    scheduled_s: float
    started_s: float
    ready_s: float
    answered_s: float
    calls: int
    failed: int

    @property
    def lines(self) -> Sequence[tuple[str, float]]:
        return (
            ("node", self.scheduled_s),
            ("container", self.started_s - self.scheduled_s),
            ("models", self.ready_s - self.started_s),
            ("gateway", self.answered_s - self.ready_s),
        )


@dataclass(frozen=True)
class Outage:
    """What happened while Prometheus was gone and after it."""

    replicas_before: int
    fewest_while_gone: int
    seconds_gone: float
    ended: int  # replicas that went after it was back
    calls: int
    failed: int


def replayed(kubectl: Kubectl, who: Callers, due: Iterable[float], length_s: float) -> Run:
    """Send the calls and watch the replicas."""
    with Watch(kubectl) as watch:
        driven = drive(who, due, watch.begin)
        desired = tuple((at - watch.since, count) for at, count in watch.desired)
        return Run(account(driven.calls, watch.lived(), length_s, who.goal_ms), driven, desired)


def stepped(
    kubectl: Kubectl, who: Callers, one: Carried, thresholds: Thresholds, *, before_s: float, after_s: float
) -> tuple[Parts, Run]:
    """From three tenths of one replica's load to all of it. Raises UserError when no replica was added."""
    times = step_times(0.3 * one.rate, one.rate, before_s, before_s + after_s)
    with Watch(kubectl) as watch:
        clock = time.time() - time.monotonic()
        driven = drive(who, times, watch.begin)
        step = watch.since + before_s
        new = [seen for seen in watch.pods.values() if not seen.was_there and seen.answered is not None]
        if not new:
            raise UserError(f"no new replica answered within {after_s:g} s after the step")
        first = min(new, key=lambda seen: seen.created)
        decided = min((at for at, count in watch.desired if at >= step and count > 1), default=first.created)
        metric = _over_threshold(prometheus_url(kubectl), thresholds, clock + step, clock + step + after_s) - clock
        run = Run(account(driven.calls, watch.lived(), before_s + after_s, who.goal_ms), driven, ())
    return parts_of(first, step, metric, decided), run


def parts_of(seen: Seen, step: float, metric: float, decided: float) -> Parts:
    """From moments to seconds after the step."""
    moments = (metric, decided, seen.created, seen.scheduled, seen.started, seen.ready, seen.answered)
    return Parts(*(float("nan") if moment is None else moment - step for moment in moments))


def started(kubectl: Kubectl, who: Callers) -> Started:
    """Scale from one replica to two and back, under STARTING_RATE calls a second."""
    scale = ("scale", "deployment", "triton", "-n", NAMESPACE)
    with Watch(kubectl) as watch:

        def act() -> None:
            _sleep_until(watch, STARTING_S[0])
            kubectl.run(*scale, "--replicas=2")
            _sleep_until(watch, STARTING_S[1])
            kubectl.run(*scale, "--replicas=1")

        acting = threading.Thread(target=act)
        acting.start()
        driven = drive(who, step_times(STARTING_RATE, STARTING_RATE, 0.0, STARTING_S[2]), watch.begin)
        acting.join()
        new = [seen for seen in watch.pods.values() if not seen.was_there]
    wait(lambda: len(kubectl.pods("triton")) == 1, "the second replica has gone")
    if len(new) != 1 or new[0].answered is None:
        raise UserError(f"the new replica gave no answer within {STARTING_S[1]:g} s")
    parts = parts_of(new[0], new[0].created, new[0].created, new[0].created)
    failed = sum(call.latency_ms is None for call in driven.calls)
    return Started(parts.scheduled_s, parts.started_s, parts.ready_s, parts.answered_s, len(driven.calls), failed)


def outage(kubectl: Kubectl, who: Callers, one: Carried, *, peak_s: float, gone_s: float, quiet_s: float) -> Outage:
    """Load for two replicas for `peak_s`; then Prometheus ends, while the load stays for half of `gone_s` and falls;
    then Prometheus is back, and the load stays low for `quiet_s`, in which a replica goes."""
    falls_s, length_s = peak_s + gone_s / 2, peak_s + gone_s + quiet_s
    times = step_times(one.rate, 0.2 * one.rate, falls_s, length_s)
    counts: dict[str, int] = {}
    with Watch(kubectl) as watch:

        def ready_count() -> int:
            return sum(is_ready(pod) and "deletionTimestamp" not in pod["metadata"] for pod in kubectl.pods("triton"))

        def act() -> None:
            _sleep_until(watch, peak_s)
            counts["before"] = ready_count()
            kubectl.run("scale", "deployment", "prometheus", "-n", "monitoring", "--replicas=0")
            kubectl.run("delete", "pod", "-n", "monitoring", "--all", "--grace-period=0", "--force")
            _sleep_until(watch, peak_s + gone_s)
            counts["after"] = ready_count()
            kubectl.run("scale", "deployment", "prometheus", "-n", "monitoring", "--replicas=1")

        acting = threading.Thread(target=act)
        acting.start()
        driven = drive(who, times, watch.begin)
        acting.join()
        ended = sum(seen.ends is not None and seen.ends > watch.since for seen in watch.pods.values())
    wait(lambda: len(kubectl.pods("prometheus", "monitoring")) == 1, "Prometheus is back")
    failed = sum(call.latency_ms is None for call in driven.calls)
    return Outage(counts["before"], counts["after"], gone_s, ended, len(driven.calls), failed)


def _sleep_until(watch: Watch, at_s: float) -> None:
    time.sleep(max(0.0, watch.since + at_s - time.monotonic()))


def _over_threshold(url: str, thresholds: Thresholds, start: float, end: float) -> float:
    """When one of the queries was first over what one replica is to do; times in seconds since 1970."""
    rows = ((ARRIVALS, thresholds.busy), (IN_FLIGHT, thresholds.in_flight))
    moments = [
        at
        for query, threshold in rows
        for series in over_time(url, query, start, end, 0.5)
        for at, value in series.points
        if value > threshold * (1 + TOLERANCE)
    ]
    return min(moments, default=float("nan"))


def lines_of(parts: Parts) -> Sequence[tuple[str, float]]:
    """Each part with the time that it took."""
    moments = (
        ("the load's step until Prometheus shows it", 0.0, parts.metric_s),
        ("until the autoscaler wants another replica", parts.metric_s, parts.decided_s),
        ("until its pod is there", parts.decided_s, parts.created_s),
        ("until it has a node", parts.created_s, parts.scheduled_s),
        ("until its container runs", parts.scheduled_s, parts.started_s),
        ("until every model is loaded and warm", parts.started_s, parts.ready_s),
        ("until the gateway has its first answer", parts.ready_s, parts.answered_s),
    )
    return [(what, end - start) for what, start, end in moments]
