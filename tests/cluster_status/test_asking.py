"""A program in place of kubectl: what one may not read is named, a cluster that does not answer is one line."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ai102.cluster.asking import Kubectl, facts_of
from ai102.errors import UserError

PODS = [
    {"kind": "Pod", "metadata": {"name": "crash-1"}, "spec": {"nodeName": "n1", "containers": [{"name": "a"}]},
     "status": {"phase": "Running", "containerStatuses": [
         {"name": "a", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
          "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": "2026-11-29T03:00:00Z"}}}]}},
]  # fmt: skip
# What the program answers: by its words, the status, standard output and standard error.
ANSWERS: dict[str, tuple[int, str, str]] = {
    "config current-context": (0, "there\n", ""),
    "get pods": (1, json.dumps({"kind": "List", "items": PODS}), "Error from server (Forbidden): nodes is forbidden\n"),
    "get scaledobjects": (1, "", 'error: the server doesn\'t have a resource type "scaledobjects"\n'),
    "get certificates": (1, "", 'error: the server doesn\'t have a resource type "certificates"\n'),
    "get secrets": (0, json.dumps({"items": []}), ""),
    "logs crash-1 --container a --tail=20": (0, "one\nthe last line\n\n", ""),
}
PROGRAM = """\
#!{python}
import json, sys
answers = json.loads({answers!r})
words = " ".join(sys.argv[1:]).partition("--namespace ")[2].partition(" ")[2]
status, out, err = next(answer for start, answer in answers.items() if words.startswith(start))
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(status)
"""


def kubectl(folder: Path, **changes: Any) -> Kubectl:
    program = folder / "kubectl"
    answers = {**ANSWERS, **{words.replace("_", " "): answer for words, answer in changes.items()}}
    program.write_text(PROGRAM.format(python=sys.executable, answers=json.dumps(answers)))
    program.chmod(0o755)
    return Kubectl(str(program), (), "ai102", 60.0)


def test_all_that_may_be_read_is_and_the_rest_is_named(tmp_path: Path) -> None:
    facts = facts_of(kubectl(tmp_path), "")
    assert (facts.context, facts.namespace) == ("there", "ai102")
    assert [pod.name for pod in facts.pods] == ["crash-1"]
    assert facts.unread == ("nodes is forbidden",)
    assert facts.last_lines == {("crash-1", "a"): "the last line"}


@pytest.mark.parametrize(
    "answer", [(1, "", "not found"), (0, "unable to retrieve container logs for containerd://a", "")]
)
def test_a_log_that_the_node_has_no_more_is_not_called_empty(tmp_path: Path, answer: tuple[int, str, str]) -> None:
    facts = facts_of(kubectl(tmp_path, **{"logs crash-1 --container a --tail=20": answer}), "there")
    assert facts.last_lines == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"get_pods": (1, "", "E1129 memcache.go: noise\nUnable to connect to the server: i/o timeout\n")},
            "kubectl: Unable to connect to the server: i/o timeout: see that the cluster is up, or name another by"
            " --kubeconfig or --context",
        ),
        (
            {"get_pods": (1, json.dumps({"items": []}), "Error from server (Forbidden): pods is forbidden\n")},
            "nothing runs in namespace ai102 of context there; pods is forbidden: name another by --namespace, or apply"
            " an overlay",
        ),
    ],
)  # fmt: skip
def test_what_the_user_must_mend_is_one_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        facts_of(kubectl(tmp_path, **change), "")
    assert str(raised.value) == message


def test_a_kubectl_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    program = tmp_path / "kubectl"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    with pytest.raises(UserError, match=r"kubectl get pods: no answer within 0\.6 s: see that the cluster is up"):
        Kubectl(str(program), (), "ai102", 0.1, grace_s=0.5).run("get", "pods")


def test_a_missing_kubectl_is_one_line() -> None:
    with pytest.raises(UserError, match="No such file or directory: install kubectl"):
        Kubectl("/no/kubectl", (), "ai102", 1.0).run("version")
