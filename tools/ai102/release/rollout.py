"""A change of the Deployment by kubectl, and the wait until its pods are ready.

Where a Canary of Flagger leads the Deployment, the same patch starts it, and the wait is for its verdict.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from ai102.cluster import rules
from ai102.cluster.asking import UNKNOWN_KIND, Kubectl, facts_of
from ai102.cluster.finding import line
from ai102.errors import UserError
from ai102.release import refusals
from ai102.release.canary import AT_REST, FAILED, GOING, KIND, canary_from, leads
from ai102.release.deployment import (
    NAME,
    PRIMARY,
    Deployment,
    Operation,
    Progress,
    Running,
    deployment_from,
    led_by,
    patch_from,
)

MOST_FINDINGS = 3
# Findings that say that a rollout is not done, which is known.
KNOWN = ("rollout_is_stuck", "pods_are_missing", "two_releases_run")


class NotReadyError(UserError):
    """A rollout did not become ready in time."""

    exit_status = 4


class RefusedError(UserError):
    """Flagger did not lead a release into service: the quality gate stopped it, its calls failed, or its pods did."""

    exit_status = 5


@dataclass(frozen=True)
class Cluster:
    """`context` is the kubeconfig's, empty in a pod; the rollout is looked at every `pace_s`."""

    kubectl: Kubectl
    context: str
    say: Callable[[str], None]
    pace_s: float = 1.0

    @property
    def place(self) -> str:
        return f"{self.context or 'in-cluster'}/{self.kubectl.namespace}"

    @cached_property
    def canary(self) -> str:
        """The name of the Canary that leads the Deployment; empty without one. Raises UserError."""
        done = self.kubectl.run("get", KIND, "--output=json")
        if done.returncode:
            if UNKNOWN_KIND in done.stderr:
                return ""
            raise UserError(f"kubectl: {_said(done.stderr)}: whether a Canary leads releases here is not known")
        return next((each["metadata"]["name"] for each in _items(done.stdout) if leads(each, NAME)), "")

    def deployment(self) -> Deployment:
        """Raises UserError when there is none, the cluster does not answer, or Flagger has not taken it over yet."""
        more = (f"deployment/{PRIMARY}", f"{KIND}/{self.canary}", "--ignore-not-found") if self.canary else ()
        done = self.kubectl.run("get", f"deployment/{NAME}", *more, "--output=json")
        items = {(each["kind"], each["metadata"]["name"]): each for each in _items(done.stdout)}
        if done.returncode or ("Deployment", NAME) not in items:
            advice = "name another namespace by --namespace, or apply an overlay"
            said = _said(done.stderr) if done.returncode else f"there is no Deployment {NAME}"
            raise UserError(f"kubectl: {said}: {self.kubectl.advice}, {advice}")
        deployment = deployment_from(items["Deployment", NAME])
        if not self.canary:
            return deployment
        item, primary = items.get(("Canary", self.canary)), items.get(("Deployment", PRIMARY))
        phase = canary_from(item).phase if item else ""
        if item is None or primary is None or phase not in (*GOING, *AT_REST, FAILED):
            raise UserError(
                f"Flagger has not taken Deployment {NAME} over (Canary {self.canary}: {phase or 'no phase'}): "
                f"wait until `kubectl get canary {self.canary}` says Initialized, or see Flagger's log"
            )
        return led_by(canary_from(item), deployment, deployment_from(primary))

    def judge(self, deployment: Deployment, is_judging: bool) -> None:
        """Whether Flagger has the next release judged; nothing without a Canary. Raises UserError."""
        if deployment.canary is None or deployment.canary.is_skipping is not is_judging:
            return
        patch = json.dumps({"spec": {"skipAnalysis": not is_judging}})
        done = self.kubectl.run("patch", f"{KIND}/{self.canary}", "--type=merge", f"--patch={patch}")
        if done.returncode:
            raise UserError(f"kubectl: {_said(done.stderr)}: Canary {self.canary} is as it was")

    def change(self, deployment: Deployment, to: Running, before: Running | None) -> None:
        """Both images and the annotations at once. Raises UserError when the cluster refuses it."""
        asked_at = datetime.now(UTC).isoformat(timespec="milliseconds") if deployment.canary else ""
        self._patch(NAME, deployment, patch_from(deployment, to, before, asked_at))

    def change_primary(self, deployment: Deployment, to: Running) -> None:
        """Both images of the pods in service, without Flagger. Raises UserError when the cluster refuses it."""
        assert deployment.primary is not None
        asked_at = deployment.asked_at if deployment.template == to else ""  # as where Flagger has copied it
        self._patch(PRIMARY, deployment, patch_from(deployment.primary, to, None, asked_at))

    def _patch(self, name: str, seen: Deployment, operations: list[Operation]) -> None:
        done = self.kubectl.run("patch", f"deployment/{name}", "--type=json", f"--patch={json.dumps(operations)}")
        if not done.returncode:
            return
        now = self.deployment()
        if (now.template, now.primary and now.primary.template) != (
            seen.template,
            seen.primary and seen.primary.template,
        ):
            raise UserError(
                f"Deployment {name} of {self.place} was changed by somebody else meanwhile: nothing was done; "
                "look who, and say it again"
            )
        raise UserError(f"kubectl: {_said(done.stderr)}: the Deployment is as it was")

    def wait(self, what: str, timeout_s: float, advice: str, *, of_primary: bool = False) -> Progress:
        """Until every pod is of the newest template and ready; `of_primary`: those in service, whatever Flagger does.

        Raises NotReadyError, with what the pods say, and RefusedError, with what the quality gate or Flagger says.
        """
        ends = time.monotonic() + timeout_s
        last, why = None, ""
        while True:
            try:
                deployment = self.deployment()
            except UserError as err:  # a cluster that is busy answers later
                why = str(err)
            else:
                if of_primary and deployment.primary:
                    deployment = deployment.primary
                if deployment.is_refused:
                    raise RefusedError(refusals.sentence(self.kubectl, self.canary, what, deployment))
                progress = deployment.progress
                if progress.is_done:
                    return progress
                if progress != last:
                    self.say(f"{what}: {progress.words}")
                last, why = progress, ""
            stuck = last.stuck if last else ""
            if stuck or time.monotonic() >= ends:
                state = why or (last.words if last else "nothing is known of its pods")
                limit = "is stuck" if stuck else f"is not ready after {timeout_s:g} s"
                raise NotReadyError(f"{what} {limit}: {state}{self._causes()}; {advice}")
            time.sleep(self.pace_s)

    def _causes(self) -> str:
        try:
            found = rules.findings(facts_of(self.kubectl, self.context))
        except UserError:
            return ""
        wrong = [each for each in found if each.level == "wrong"]
        ours = [each for each in wrong if {NAME, PRIMARY}.intersection((each.about, *each.workloads))]
        named = [f"{each.subject}: {each.why}" for each in ours if each.rule not in KNOWN]
        return "".join(f"; {text}" for text in named[:MOST_FINDINGS])


def context_of(kubectl: Kubectl, context: str) -> str:
    """The one given, or the kubeconfig's current one; empty in a pod of the cluster."""
    if context:
        return context
    done = kubectl.run("config", "current-context")
    return "" if done.returncode else done.stdout.strip()


def _items(text: str) -> list[dict[str, Any]]:
    """What kubectl prints as JSON: of several objects a list, of one the object, and nothing where none is there."""
    document: dict[str, Any] = json.loads(text) if text.strip() else {"kind": "List"}
    return list(document.get("items", ())) if document["kind"].endswith("List") else [document]


def _said(stderr: str) -> str:
    lines = [text for text in stderr.splitlines() if text.strip()]
    return line(lines[-1] if lines else "it failed", 300)
