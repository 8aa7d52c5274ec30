"""A fake in place of kubectl: it keeps a Deployment in a file, applies JSON patches, and plays the pods of a rollout.

It is written to a folder by `install`. The file that FAKE_CLUSTER names holds {"deployment": ..., "rollout": WORD,
"calls": [...]}. WORD says how rollouts go: "good" is ready at the second look, "crash" never, "stuck" passes its own
deadline, "absent" has no Deployment. With "next" another WORD holds from the next patch on, of several WORDs one for
each patch; with "busy" so many looks after a patch get an error. Answers have the form of Kubernetes 1.36;
test_api_server.py asks a real API server.

With "canary" it plays Flagger 1.44, too: at each look that comes a step further with what "flagger" says: "passes",
"refuses" it at a quarter of the calls, "sleeps", "breaks" when it has passed. "log" is that of the gate.
"""

from __future__ import annotations

import copy
import fcntl
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVER = "ai102/server:0.2.0"
MODELS = "ai102/models:0.2.0"
PATCHED = {"deployment/triton": "deployment", "deployment/triton-primary": "primary"}


def deployment(*, copies_models: bool = False) -> dict[str, Any]:
    """As k8s/base has it, or with the component model-copy; three pods are ready."""
    pod: dict[str, Any] = {
        "containers": [{"name": "triton", "image": SERVER}],
        "volumes": [{"name": "models", "image": {"reference": MODELS, "pullPolicy": "IfNotPresent"}}, {"name": "tmp"}],
    }
    if copies_models:
        pod["initContainers"] = [{"name": "lend-programs", "image": SERVER}, {"name": "copy-models", "image": MODELS}]
        pod["volumes"] = [{"name": "models", "emptyDir": {}}]
    return {
        "kind": "Deployment",
        "metadata": {"name": "triton", "uid": "uid-1", "generation": 1, "annotations": {}},
        "spec": {
            "replicas": 3,
            "template": {"metadata": {"labels": {"app.kubernetes.io/name": "triton"}}, "spec": pod},
        },
        "status": {
            "observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "readyReplicas": 3,
        },
    }  # fmt: skip


def canary() -> dict[str, Any]:
    """As Flagger has taken the Deployment over."""
    return {
        "kind": "Canary",
        "metadata": {"name": "triton"},
        "spec": {"targetRef": {"kind": "Deployment", "name": "triton"}, "skipAnalysis": False, "analysis": {}},
        "status": status_of("Initialized", 0),
    }


def status_of(phase: str, turn: int, **more: Any) -> dict[str, Any]:
    verdict = {"type": "Promoted", "reason": phase, "lastTransitionTime": f"2026-11-29T12:{turn:02}:00Z"}
    return {"phase": phase, "canaryWeight": 0, "failedChecks": 0, "conditions": [verdict], **more}


def begin(state: Path, *, copies_models: bool = False) -> None:
    """A cluster on which an overlay was applied."""
    first = {"deployment": deployment(copies_models=copies_models), "rollout": "good", "calls": []}
    state.write_text(json.dumps(first), encoding="utf-8")


def install(folder: Path, state: Path) -> None:
    """Put the program into `folder`, and `begin`."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "kubectl"
    program.write_text(f"#!{sys.executable} -IS\n{Path(__file__).read_text(encoding='utf-8')}", encoding="utf-8")
    program.chmod(0o755)
    begin(state)


@dataclass(frozen=True)
class Said:
    output: str = ""
    complaint: str = ""

    @property
    def status(self) -> int:
        return 1 if self.complaint else 0


def asked(words: list[str], file: Path) -> Said:
    """What it says to these words where the cluster is in `file`."""
    words = [word for word in words if not word.startswith(("--request-timeout", "--context", "--kubeconfig"))]
    words = words[2:] if words[:1] == ["--namespace"] else words
    with file.open("r+", encoding="utf-8") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        state = json.load(opened)
        state["calls"].append(words)
        said = answer(state, words)
        opened.seek(0)
        opened.truncate()
        json.dump(state, opened)
        opened.flush()
    return said


def answer(state: dict[str, Any], words: list[str]) -> Said:
    if words[:2] == ["config", "current-context"]:
        return Said("fake")
    if words[0] == "get" and words[1].startswith("canaries") and "canary" not in state:
        return Said(complaint='error: the server doesn\'t have a resource type "canaries"')
    if words[:2] == ["logs", "deployment/quality-gate"]:
        return Said(state.get("log", ""))
    if words[:2] == ["get", "events"]:
        return listed("EventList", state.get("events", []))
    if state["rollout"] == "absent":
        return Said(complaint='Error from server (NotFound): deployments.apps "triton" not found')
    if words[:2] == ["get", "deployment/triton"]:
        if state.get("busy") and state["deployment"]["metadata"]["generation"] > 1:
            state["busy"] -= 1
            return Said(complaint="Unable to connect to the server: net/http: TLS handshake timeout")
        if "canary" in state:
            lead(state)
            if state.get("primary"):
                look(state, "primary")
            return listed("List", [state[name] for name in ("deployment", "primary", "canary") if state.get(name)])
        look(state)
        return Said(json.dumps(state["deployment"]))
    if words[:2] == ["get", "canaries.flagger.app"]:
        return listed("CanaryList", [state["canary"]])
    if words[0] == "get":
        return listed("List", [state["deployment"], *pods(state)] if words[1].startswith("pods,") else [])
    if words[:2] == ["patch", "canaries.flagger.app/triton"]:
        state["canary"]["spec"] |= json.loads(words[3].removeprefix("--patch="))["spec"]
        return Said()
    if words[0] == "patch" and words[1] in PATCHED:
        return Said(complaint=patch(state, json.loads(words[3].removeprefix("--patch=")), PATCHED[words[1]]))
    return Said(complaint=f"fake kubectl: {words}")


def listed(kind: str, items: list[dict[str, Any]]) -> Said:
    return Said(json.dumps({"kind": kind, "items": items}))


def look(state: dict[str, Any], which: str = "deployment") -> None:
    """At each look the controller has come a step further."""
    item = state[which]
    status, generation = item["status"], item["metadata"]["generation"]
    if status["observedGeneration"] < generation:
        status |= {"observedGeneration": generation, "replicas": 4, "updatedReplicas": 1, "availableReplicas": 3}
    elif state["rollout"] == "good":
        status |= {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}
    elif state["rollout"] == "stuck" and status["updatedReplicas"] < 3:
        message = 'ReplicaSet "triton-2" has timed out progressing.'
        status["conditions"] = [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": message}
        ]


def lead(state: dict[str, Any]) -> None:
    """As Flagger: it begins with a template that is neither the last one that it saw nor the last one that passed."""
    template, status = state["deployment"]["spec"]["template"], state["canary"].get("status", {})
    word, skips = state.get("flagger", "passes"), state["canary"]["spec"]["skipAnalysis"]
    state["turn"] = turn = state.get("turn", 0) + 1
    if word == "sleeps" or status.get("phase", "") in ("", "Initializing"):
        return
    is_at_rest = status["phase"] in ("Initialized", "Succeeded", "Failed")
    if is_at_rest and template in (state["seen"], state["passed"]):
        return
    if template != state["seen"]:
        state["seen"], state["canary"]["status"] = template, status_of("Progressing", turn)
    elif skips:
        promote(state, "Succeeded", turn)
    elif status["phase"] == "Promoting":
        broken = status_of("Failed", turn, canaryWeight=100)
        state["canary"]["status"] = broken if word == "breaks" else status_of("Succeeded", turn)
    elif status["canaryWeight"] == 0:
        status |= {"canaryWeight": 25, "failedChecks": 1}
    elif word == "refuses":
        state["canary"]["status"] = status_of("Failed", turn)
    elif word == "breaks":
        state["canary"]["status"] = status_of("Promoting", turn)
    else:
        promote(state, "Promoting", turn)


def promote(state: dict[str, Any], phase: str, turn: int) -> None:
    template = copy.deepcopy(state["deployment"]["spec"]["template"])
    template["metadata"].setdefault("annotations", {})["flagger-id"] = str(turn)
    state["primary"]["spec"]["template"] = template
    state["passed"] = state["deployment"]["spec"]["template"]
    state["canary"]["status"] = status_of(phase, turn)


def pods(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The pod of a rollout that does not get ready."""
    if state["deployment"]["status"]["updatedReplicas"] == 3:
        return []
    image = state["deployment"]["spec"]["template"]["spec"]["containers"][0]["image"]
    labels = {"app.kubernetes.io/name": "triton", "pod-template-hash": "2"}
    owner = {"kind": "ReplicaSet", "name": "triton-2", "controller": True}
    last = {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": "2026-11-29T03:00:00Z"}}
    waits = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
    container = {"name": "triton", "image": image, "restartCount": 3, "state": waits, "lastState": last}
    return [
        {
            "kind": "ReplicaSet",
            "metadata": {"name": "triton-2", "ownerReferences": [{"name": "triton", "controller": True}]},
        },
        {
            "kind": "Pod",
            "metadata": {"name": "triton-2-a", "labels": labels, "ownerReferences": [owner]},
            "spec": {"nodeName": "n1", "containers": [{"name": "triton", "image": image}]},
            "status": {"phase": "Running", "containerStatuses": [container]},
        },
    ]


def patch(state: dict[str, Any], operations: list[dict[str, Any]], which: str = "deployment") -> str:
    """Why it cannot be done, empty when it is."""
    item = copy.deepcopy(state[which])
    for operation in operations:
        *path, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        place: Any = item
        for part in path:
            place = place[int(part) if isinstance(place, list) else part]
        key: Any = int(last) if isinstance(place, list) else last
        if operation["op"] == "test" and place[key] != operation["value"]:
            return f"The request is invalid: testing path {operation['path']} failed"
        if operation["op"] in ("add", "replace"):
            place[key] = operation["value"]
        if operation["op"] == "remove":
            del place[key]
    if item["spec"] != state[which]["spec"]:
        item["metadata"]["generation"] += 1
        item["status"].pop("conditions", None)
    word, *later = state.get("next", state["rollout"]).split()
    state |= {which: item, "rollout": word, **({"next": " ".join(later)} if later else {})}
    return ""


if __name__ == "__main__":
    said = asked(sys.argv[1:], Path(os.environ["FAKE_CLUSTER"]))
    sys.stdout.write(said.output)
    sys.stderr.write(said.complaint and f"{said.complaint}\n")
    raise SystemExit(said.status)
