"""Flagger's Canary that leads the Deployment: how far a release has come on its way, and how much callers see of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KIND = "canaries.flagger.app"
# While it is in one of these, a release is on its way.
GOING = ("Waiting", "Progressing", "WaitingPromotion", "Promoting", "Finalising")
AT_REST = ("Initialized", "Succeeded")
FAILED = "Failed"
WORDS = {
    "Waiting": "it waits for an approval",
    "WaitingPromotion": "it waits for the approval of its promotion",
    "Promoting": "it passed, and is rolled out",
    "Finalising": "it passed, and its last pods are rolled out",
}


@dataclass(frozen=True)
class Canary:
    """`since` is when its last verdict was made, as the cluster writes it; `weight` is in percent of the calls."""

    name: str
    phase: str
    since: str = ""
    weight: int = 0
    iteration: int = 0
    iterations: int = 0
    failed_checks: int = 0
    is_skipping: bool = False  # releases are not judged
    is_suspended: bool = False

    @property
    def is_going(self) -> bool:
        return self.phase in GOING

    @property
    def has_no_calls(self) -> bool:
        """Whether all calls go to what is in service."""
        return self.phase in AT_REST or (self.phase == FAILED and self.weight != 100)

    @property
    def words(self) -> str:
        if not self.is_going:
            return "Flagger has not begun with it yet"
        text = WORDS.get(self.phase, "")
        if not text:
            calls = f"{self.weight} % of the calls go to it" if self.weight else "no call goes to it yet"
            turn = f", round {self.iteration} of {self.iterations}" if self.iterations else ""
            text = f"it is {'started' if self.is_skipping else 'judged'}, {calls}{turn}"
        return f"{text}; {self.failed_checks} checks failed" if self.failed_checks else text


def leads(item: Mapping[str, Any], deployment: str) -> bool:
    """Whether a Canary of the API is of that Deployment."""
    target = item["spec"]["targetRef"]
    return (target.get("kind"), target["name"]) == ("Deployment", deployment)


def canary_from(item: Mapping[str, Any]) -> Canary:
    """From a Canary of the API."""
    spec, status = item["spec"], item.get("status") or {}
    verdicts = [each for each in status.get("conditions") or () if each["type"] == "Promoted"]
    return Canary(
        name=item["metadata"]["name"],
        phase=status.get("phase", ""),
        since=verdicts[-1].get("lastTransitionTime", "") if verdicts else "",
        weight=status.get("canaryWeight", 0),
        iteration=status.get("iterations", 0),
        iterations=(spec.get("analysis") or {}).get("iterations", 0),
        failed_checks=status.get("failedChecks", 0),
        is_skipping=bool(spec.get("skipAnalysis")),
        is_suspended=bool(spec.get("suspend")),
    )
