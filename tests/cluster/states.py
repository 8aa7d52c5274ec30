"""`ai102 cluster status`, called as a person calls it, from the client's machine."""

import json
import subprocess
import sys
from typing import Any

from k8s.local import namespaces
from k8s.local.plan import CLIENT, ROOT, Plan

# Why, by rule and whom it names.
Findings = dict[tuple[str, str], str]


def status(plan: Plan, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "ai102", "cluster", "status", f"--kubeconfig={plan.kubeconfig}", *options]
    inside = namespaces.command_in(plan.namespace(CLIENT), command)
    return subprocess.run(inside, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)


def state(plan: Plan, namespace: str) -> dict[str, Any]:
    done = status(plan, "--json", f"--namespace={namespace}", "--timeout-s=30")
    assert done.returncode in (0, 1), done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if answer["healthy"] else 1)
    return answer


def findings(plan: Plan, namespace: str) -> Findings:
    return {(each["rule"], each["about"]): each["why"] for each in state(plan, namespace)["findings"]}
