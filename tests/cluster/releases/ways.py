"""Three ways to roll a release out: all at once with probes alone, a canary by error rate and latency, and ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from k8s.local import api
from tests.cluster.calls.stack import NAMESPACE, Stack
from tests.cluster.canary.releasing import status, weights

ALL_AT_ONCE, ERROR_RATE, OURS = WAYS = "all at once", "error rate and latency", "ours"
CANARY, TARGET, PRIMARY = "canary/triton", "deployment/triton", "deployment/triton-primary"
# As often as Flagger's own examples have it: one failed request of a hundred, twice the time.
ORDINARY = [
    {
        "name": "percent of failed requests",
        "templateRef": {"name": "failures", "namespace": NAMESPACE},
        "thresholdRange": {"max": 1},
        "interval": "30s",
    },
    {
        "name": "times as long as in service",
        "templateRef": {"name": "latency", "namespace": NAMESPACE},
        "thresholdRange": {"max": 2},
        "interval": "30s",
    },
]
# A hook that always says 200: Flagger takes it for the wish to go back.
BACK = [{"name": "the trial is over", "type": "rollback", "url": "http://quality-gate.ai102:8095/pre-rollout"}]


@dataclass(frozen=True)
class State:
    """Of a rollout: the phase of Flagger's Canary, and the new release's percent of the calls."""

    phase: str
    percent: float


@dataclass
class Rollouts:
    """Changes of one stack whose Deployment Flagger leads; `analysis` is its own, which is ours."""

    stack: Stack
    analysis: Mapping[str, Any]
    number: int = 0

    def begin(self, way: str, models: str, server: str) -> None:
        """Give the pods another models image and server image in that way."""
        if way == ALL_AT_ONCE:
            self.set_images(PRIMARY, models, server)
            return
        self._set_analysis(self.analysis if way == OURS else {**self.analysis, "webhooks": [], "metrics": ORDINARY})
        self.set_images(TARGET, models, server)

    def state(self, way: str, models: str, server: str) -> State:
        if way == ALL_AT_ONCE:
            pods = self.stack.ready("triton-primary")
            new = sum(runs(self.stack, pod.name, models, server) for pod in pods)
            return State("", 100 * new / max(1, len(pods)))
        return State(str(status(self.stack).get("phase")), float(weights(self.stack).get("triton-canary", 0)))

    def set_images(self, deployment: str, models: str, server: str) -> None:
        # An image alone that failed before would be no change, and Flagger would not begin.
        self.number += 1
        pods = {
            "metadata": {"annotations": {"ai102.example/trial": str(self.number)}},
            "spec": {
                "containers": [{"name": "triton", "image": server}],
                "volumes": [{"name": "models", "image": {"reference": models}}],
            },
        }
        self.stack.kubectl("patch", deployment, "--type=strategic", "-p", json.dumps({"spec": {"template": pods}}))

    def end(self) -> None:
        """Have Flagger go back from a release that is on its way."""
        self._set_analysis({**self.analysis, "webhooks": BACK})

    def _set_analysis(self, analysis: Mapping[str, Any]) -> None:
        self.stack.kubectl("patch", CANARY, "--type=merge", "-p", json.dumps({"spec": {"analysis": dict(analysis)}}))


def runs(stack: Stack, pod: str, models: str, server: str) -> bool:
    """Whether a pod's specification names both images; not where the pod has gone."""
    item = api.get(stack.plan, f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}")
    text = json.dumps(item["spec"]) if item else ""
    return models in text and server in text


def reason(stack: Stack, way: str, since: str) -> str:
    """Why Flagger went back: the gate's last sentence, or the last of its own checks that failed.

    `since`: a time in UTC as events have it.
    """
    if way == OURS:
        lines = stack.kubectl("logs", "deployment/quality-gate", "--container=quality-gate", "--tail=1").splitlines()
        return lines[-1].partition(": ")[2] if lines else ""
    events = api.get(stack.plan, f"/api/v1/namespaces/{NAMESPACE}/events")["items"]
    said = [
        each
        for each in events
        if (each["involvedObject"]["kind"], each["type"]) == ("Canary", "Warning")
        and (each.get("lastTimestamp") or "") >= since
    ]
    said.sort(key=lambda each: each["lastTimestamp"])
    halts = [each["message"] for each in said if each["message"].startswith("Halt")]
    return " ".join((halts or [each["message"] for each in said] or [""])[-1].split())
