"""A cluster asked by kubectl, each call with a time limit; what one may not read is named, and the rest goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ai102.cluster.facts import Container, Facts, Pod
from ai102.cluster.finding import line
from ai102.cluster.objects import facts_from
from ai102.cluster.restarting import crashed
from ai102.errors import UserError
from ai102.parts import program

# Asked at once, since kubectl asks for them one after another; kinds that a cluster may not have are asked for alone.
KINDS = (
    "pods,deployments.apps,statefulsets.apps,daemonsets.apps,replicasets.apps,poddisruptionbudgets.policy,"
    "horizontalpodautoscalers.autoscaling,persistentvolumeclaims,resourcequotas,events,nodes"
)
CERTIFICATE = "gateway-certificate"
QUESTIONS: tuple[tuple[str, ...], ...] = (
    (KINDS,),
    ("scaledobjects.keda.sh",),
    ("certificates.cert-manager.io",),
    ("secrets", f"--field-selector=metadata.name={CERTIFICATE}"),
)
UNKNOWN_KIND = "the server doesn't have a resource type"
FORBIDDEN = "(Forbidden)"
MOST_LOGS = 4
LOG_LINES = 20
# What kubectl prints as if it were the log, when the node has removed it.
NO_LOG = "unable to retrieve container logs"


@dataclass(frozen=True)
class Kubectl:
    """How kubectl is called: `options` say which cluster, as --kubeconfig and --context."""

    program: str
    options: tuple[str, ...]
    namespace: str
    timeout_s: float  # that the server has for each question
    grace_s: float = 5.0  # that kubectl itself may take

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Raises UserError when it does not end in time."""
        limit = f"--request-timeout={self.timeout_s:g}s"
        command = [self.program, *self.options, limit, "--namespace", self.namespace, *words]
        try:
            return subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=self.timeout_s + self.grace_s
            )
        except subprocess.TimeoutExpired as err:
            asked = " ".join(words[:2]).partition(",")[0]
            raise UserError(f"kubectl {asked}: no answer within {err.timeout:g} s: {self.advice}") from err
        except OSError as err:
            raise UserError(f"{self.program}: {err.strerror}: install kubectl, or put it on PATH") from err

    @property
    def advice(self) -> str:
        return "see that the cluster is up, or name another by --kubeconfig or --context"


def kubectl_for(namespace: str, context: str, kubeconfig: Path | None, timeout_s: float) -> Kubectl:
    """The kubectl of this machine, by the options of a command. Raises UserError where there is none."""
    options = [*([f"--kubeconfig={kubeconfig}"] if kubeconfig else ()), *([f"--context={context}"] if context else ())]
    return Kubectl(found_kubectl(), tuple(options), namespace, timeout_s)


@dataclass(frozen=True)
class Answer:
    items: Sequence[dict[str, Any]] = ()
    unread: tuple[str, ...] = ()


def facts_of(kubectl: Kubectl, context: str) -> Facts:
    """Raises UserError in one line when the cluster does not answer, or nothing runs in the namespace."""
    with ThreadPoolExecutor(len(QUESTIONS) + 1) as pool:
        current = pool.submit(_current_context, kubectl, context)
        answers = list(pool.map(lambda words: _answer(kubectl, words), QUESTIONS))
        facts = facts_from(
            [item for answer in answers for item in answer.items],
            namespace=kubectl.namespace,
            context=current.result(),
            now_s=time.time(),
            unread=tuple(text for answer in answers for text in answer.unread),
        )
        if not facts.workloads and not facts.pods:
            where = f"namespace {facts.namespace} of context {facts.context or 'in the cluster'}"
            why = f"; {facts.unread[0]}" if facts.unread else ""
            raise UserError(f"nothing runs in {where}{why}: name another by --namespace, or apply an overlay")
        places = crashed(facts)[:MOST_LOGS]
        lines = pool.map(lambda place: _last_line(kubectl, *place), places)
        names = [(pod.name, container.name) for pod, container in places]
        known = {name: text for name, text in zip(names, lines, strict=True) if text is not None}
        return replace(facts, last_lines=known)


def found_kubectl() -> str:
    """The one on PATH, which fits the user's cluster; else that of our parts. Raises UserError."""
    if on_path := shutil.which("kubectl"):
        return on_path
    try:
        return str(program("kubernetes", "kubectl"))
    except UserError as err:
        raise UserError("kubectl is not on PATH: install it, or `ai102 parts build kubernetes`") from err


def _answer(kubectl: Kubectl, words: Sequence[str]) -> Answer:
    done = kubectl.run("get", *words, "--output=json")
    complaints = [text for text in done.stderr.splitlines() if text.strip()]
    refused = tuple(line(text.partition(": ")[2] or text) for text in complaints if FORBIDDEN in text)
    if done.returncode and not refused:
        if any(UNKNOWN_KIND in text for text in complaints):
            return Answer()
        raise UserError(f"kubectl: {line(complaints[-1] if complaints else 'it failed', 300)}: {kubectl.advice}")
    return Answer(json.loads(done.stdout).get("items", ()) if done.stdout.strip() else (), refused)


def _current_context(kubectl: Kubectl, context: str) -> str:
    """Empty in a pod of the cluster, where there is no context."""
    if context:
        return context
    done = kubectl.run("config", "current-context")
    return "" if done.returncode else done.stdout.strip()


def _last_line(kubectl: Kubectl, pod: Pod, container: Container) -> str | None:
    """Of the run that ended: the one before where it runs again. None where the node has no log of it any more."""
    runs_again = ("--previous",) if not container.waits and not container.ended else ()
    done = kubectl.run("logs", pod.name, "--container", container.name, f"--tail={LOG_LINES}", *runs_again)
    if done.returncode or NO_LOG in done.stdout:
        return None
    lines = [text for text in done.stdout.splitlines() if text.strip()]
    return lines[-1] if lines else ""
