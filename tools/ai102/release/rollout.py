"""A change of the Deployment by kubectl, and the wait until its pods are ready.

With Flagger in the cluster the same patch starts a canary: whoever waits then has to ask the Canary, in `wait`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from ai102.cluster import rules
from ai102.cluster.asking import Kubectl, facts_of
from ai102.cluster.finding import line
from ai102.errors import UserError
from ai102.release.deployment import NAME, Deployment, Progress, Running, deployment_from, patch_from

MOST_FINDINGS = 3
# Findings that say that a rollout is not done, which is known.
KNOWN = ("rollout_is_stuck", "pods_are_missing", "two_releases_run")


class NotReadyError(UserError):
    """A rollout did not become ready in time."""

    exit_status = 4


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

    def deployment(self) -> Deployment:
        """Raises UserError when there is none, or the cluster does not answer."""
        done = self.kubectl.run("get", f"deployment/{NAME}", "--output=json")
        if done.returncode:
            advice = "name another namespace by --namespace, or apply an overlay"
            raise UserError(f"kubectl: {_said(done.stderr)}: {self.kubectl.advice}, {advice}")
        return deployment_from(json.loads(done.stdout))

    def change(self, deployment: Deployment, to: Running, before: Running | None) -> None:
        """Both images and the annotations at once. Raises UserError when the cluster refuses it."""
        patch = json.dumps(patch_from(deployment, to, before))
        done = self.kubectl.run("patch", f"deployment/{NAME}", "--type=json", f"--patch={patch}")
        if not done.returncode:
            return
        if self.deployment().running != deployment.running:
            raise UserError(
                f"Deployment {NAME} of {self.place} was changed by somebody else meanwhile: nothing was done; "
                "look who, and say it again"
            )
        raise UserError(f"kubectl: {_said(done.stderr)}: the Deployment is as it was")

    def wait(self, what: str, timeout_s: float, advice: str) -> Progress:
        """Until every pod is of the newest template and ready. Raises NotReadyError, with what the pods say."""
        ends = time.monotonic() + timeout_s
        last, why = None, ""
        while True:
            try:
                progress = self.deployment().progress
            except UserError as err:  # a cluster that is busy answers later
                why = str(err)
            else:
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
        ours = [each for each in found if each.level == "wrong" and NAME in (each.about, *each.workloads)]
        named = [f"{each.subject}: {each.why}" for each in ours if each.rule not in KNOWN]
        return "".join(f"; {text}" for text in named[:MOST_FINDINGS])


def context_of(kubectl: Kubectl, context: str) -> str:
    """The one given, or the kubeconfig's current one; empty in a pod of the cluster."""
    if context:
        return context
    done = kubectl.run("config", "current-context")
    return "" if done.returncode else done.stdout.strip()


def _said(stderr: str) -> str:
    lines = [text for text in stderr.splitlines() if text.strip()]
    return line(lines[-1] if lines else "it failed", 300)
