"""What happens to replicas during a run: pods come and go, the autoscaler decides, each gives its first answer."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from loadtest.scaling.accounts import Lived
from loadtest.scaling.kubectl import NAMESPACE, Kubectl, Lines

PODS = f"/api/v1/namespaces/{NAMESPACE}/pods?watch=1&labelSelector=app.kubernetes.io/name%3Dtriton"
AUTOSCALERS = f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers?watch=1"
GATEWAYS = "app.kubernetes.io/name=gateway"


@dataclass
class Seen:
    """The moments of one pod, by time.monotonic(); None: not yet."""

    created: float
    was_there: bool  # before the run
    address: str = ""
    scheduled: float | None = None
    started: float | None = None  # its container runs
    ready: float | None = None
    ends: float | None = None  # it is to end
    gone: float | None = None
    answered: float | None = None  # a gateway has logged an answer of it


@dataclass
class Watch:
    """Use it as a context manager around a run; `since` is the moment at which the run begins."""

    kubectl: Kubectl
    pods: dict[str, Seen] = field(default_factory=dict)
    desired: list[tuple[float, int]] = field(default_factory=list)  # replicas that the autoscaler wants, as they change
    since: float = 0.0
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        self.since = time.monotonic()
        for pod in self.kubectl.pods("triton"):
            self.take_pod(self.since, pod, was_there=True)
        for words, take in (
            (["get", "--raw", PODS], self._take_pod_line),
            (["get", "--raw", AUTOSCALERS], self._take_autoscaler_line),
            (["logs", "--follow", "--tail=0", "--max-log-requests=9", "-n", NAMESPACE, "-l", GATEWAYS], self._take_log),
        ):
            self._stack.enter_context(Lines(self.kubectl, words, take))
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def begin(self) -> float:
        """The run begins now; gives the moment."""
        self.since = time.monotonic()
        return self.since

    def lived(self) -> dict[str, Lived]:
        """Seconds from the run's start."""
        return {
            name: Lived(
                min(0.0, seen.created - self.since) if seen.was_there else seen.created - self.since,
                None if seen.gone is None else seen.gone - self.since,
            )
            for name, seen in dict(self.pods).items()
        }

    def take_pod(self, at: float, pod: Mapping[str, Any], *, was_there: bool = False, is_gone: bool = False) -> None:
        """Learn from a Pod of the API."""
        seen = self.pods.setdefault(pod["metadata"]["name"], Seen(at, was_there))
        status = pod.get("status", {})
        conditions = {row["type"]: row["status"] for row in status.get("conditions", [])}
        states = [row.get("state", {}) for row in status.get("containerStatuses", [])]
        seen.address = status.get("podIP", seen.address)
        for name, holds in (
            ("scheduled", conditions.get("PodScheduled") == "True"),
            ("started", any("running" in state for state in states)),
            ("ready", conditions.get("Ready") == "True"),
            ("ends", "deletionTimestamp" in pod["metadata"]),
            ("gone", is_gone),
        ):
            if holds and getattr(seen, name) is None:
                setattr(seen, name, at)

    def take_row(self, at: float, row: Mapping[str, Any]) -> None:
        """Learn from a row of a gateway's access log."""
        if row.get("status") != 200 or row.get("grpc_status") not in (None, 0):
            return
        for seen in self.pods.values():
            if seen.address and seen.address.replace(".", "-") == row.get("replica") and seen.answered is None:
                seen.answered = at

    def _take_pod_line(self, at: float, line: str) -> None:
        event = json.loads(line)
        self.take_pod(at, event["object"], is_gone=event["type"] == "DELETED")

    def _take_autoscaler_line(self, at: float, line: str) -> None:
        wanted = json.loads(line)["object"].get("status", {}).get("desiredReplicas")
        if wanted is not None and (not self.desired or self.desired[-1][1] != wanted):
            self.desired.append((at, wanted))

    def _take_log(self, at: float, line: str) -> None:
        if line.startswith("{"):
            try:
                self.take_row(at, json.loads(line))
            except ValueError:  # a line that was cut
                return
