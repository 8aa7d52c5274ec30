"""`ai102 kubernetes apply`: pushed images go into an overlay by digest, others stay, and it is waited for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ai102.cluster.asking import Kubectl
from ai102.errors import UserError
from ai102.kubernetes import applying
from ai102.kubernetes.applying import NotRolledOutError, Overlay
from tests.kubernetes.kustomized import K8S, kubectl_or_skip

A, B, C = (f"@sha256:{letter * 64}" for letter in "abc")
PUSHED = {"ai102/server": f"reg.example:5000/team/ai102/server{A}", "ai102/models": f"reg.example:5000/ai102/models{A}"}
MANIFESTS = """\
      - image: registry.example:5000/ai102/server:0.2.0
        name: triton
      - image: "ai102/api"
          reference: ai102/models
        image: docker.io/library/redis:7
"""


def workload(name: str, image: str, models: str = "") -> dict[str, Any]:
    volumes = [{"name": "models", "image": {"reference": models}}] if models else []
    metadata = {"name": name, "labels": {"app.kubernetes.io/part-of": "ai102"}}
    pod = {"containers": [{"name": name, "image": image}], "volumes": volumes}
    return {"kind": "Deployment", "metadata": metadata, "spec": {"template": {"spec": pod}}}


def test_images_of_containers_and_of_volumes_get_digests_and_others_stay() -> None:
    assert applying.names_in(MANIFESTS) == {"registry.example:5000/ai102/server", "ai102/api", "ai102/models"}
    images = {"registry.example:5000/ai102/server": f"r/ai102/server{A}", "ai102/models": f"r/ai102/models{B}"}
    assert applying.with_images(MANIFESTS, images).splitlines() == [
        f"      - image: r/ai102/server{A}",
        "        name: triton",
        "      - image: ai102/api",
        f"          reference: r/ai102/models{B}",
        "        image: docker.io/library/redis:7",
    ]


def test_a_deployment_that_flagger_leads_keeps_its_replicas() -> None:
    first = "kind: Deployment\nmetadata:\n  name: {}\nspec:\n  replicas: 3"
    manifests = "\n---\n".join(
        [first.format("triton"), first.format("api"), "kind: Service\nmetadata:\n  name: triton"]
    )
    items = [
        {"metadata": {"name": name}, "spec": {"replicas": replicas}} for name, replicas in (("triton", 0), ("api", 1))
    ]
    assert applying.with_replicas(manifests, items) == manifests
    led = [*items, {"metadata": {"name": "triton-primary"}, "spec": {"replicas": 3}}]
    assert applying.with_replicas(manifests, led) == manifests.replace("replicas: 3", "replicas: 0", 1)


def test_names_of_hosts_follow_the_namespace() -> None:
    text = (
        'service = "triton-replicas.ai102.svc.cluster.local"\nurl: http://quality-gate.ai102:8095/x\nkey: ai102.example'
    )
    assert applying.elsewhere(text, "other") == text.replace(".ai102.svc", ".other.svc").replace(".ai102:", ".other:")
    assert applying.elsewhere(text, "ai102") == text


def test_what_was_pushed_is_read_from_several_files(tmp_path: Path) -> None:
    files = [tmp_path / "one.txt", tmp_path / "two.txt"]
    files[0].write_text(f"pushed reg.example:5000/team/ai102/server:0.2.0{A}\npushed r/ai102/api:0.2.0{A}\n")
    files[1].write_text(f"some words\npushed r/ai102/api:0.2.0{B}\n")
    found = {"ai102/server": f"reg.example:5000/team/ai102/server{A}", "ai102/api": f"r/ai102/api{B}"}
    assert applying.pushed_in(files) == applying.pushed_in([tmp_path]) == found


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent: cannot be read .*: name what `ai102 image push` printed"):
        applying.pushed_in([tmp_path / "absent"])


def test_what_runs_is_by_digest_and_not_of_flaggers_copy() -> None:
    items = [
        workload("triton", f"r/ai102/server:0.2.0{B}", f"r/ai102/models{B}"),
        workload("triton-primary", f"r/ai102/server{C}", f"r/ai102/models{C}"),
        workload("api", "r/ai102/api:0.2.0"),
    ]
    assert applying.running(items) == {"ai102/server": f"r/ai102/server{B}", "ai102/models": f"r/ai102/models{B}"}


RUNS = {"ai102/server": f"r/ai102/server{C}", "ai102/api": f"r/ai102/api{C}"}


@pytest.mark.parametrize(
    ("names", "keep", "images"),
    [
        (["x/ai102/server"], [], {"x/ai102/server": PUSHED["ai102/server"]}),
        (["ai102/server"], ["server"], {"ai102/server": RUNS["ai102/server"]}),
        (["ai102/models"], ["models"], {"ai102/models": PUSHED["ai102/models"]}),
        (["ai102/api"], [], {"ai102/api": RUNS["ai102/api"]}),
    ],
    ids=["pushed", "kept", "kept but none runs", "not pushed"],
)
def test_a_pushed_image_is_chosen_or_the_one_that_runs(
    names: list[str], keep: list[str], images: dict[str, str]
) -> None:
    assert applying.chosen(names, PUSHED, RUNS, keep) == images


def test_an_image_that_is_nowhere_is_one_line_that_says_what_to_do() -> None:
    with pytest.raises(
        UserError, match=r"ai102/gateway was not pushed, and none of it runs .* image push REGISTRY gate"
    ):
        applying.chosen(["ai102/gateway"], PUSHED, RUNS, [])


FAKE = """\
import json, os, sys
state = json.load(open({state!r}))
words = [word for word in sys.argv[1:] if not word.startswith("--request-timeout")][2:]
state["calls"].append(words)
if words[0] == "apply":
    state["applied"] = open(words[-1]).read()
json.dump(state, open({state!r}, "w"))
if words[0] == "kustomize":
    print(state["manifests"])
elif words[0] == "get":
    print(json.dumps({{"items": state["workloads"]}}))
elif words[0] == "rollout" and words[2] in state["stuck"]:
    sys.exit("error: timed out waiting for the condition")
"""


class Fake:
    """A kubectl that builds, keeps what is applied, and says of workloads whether they got ready."""

    def __init__(self, folder: Path, *, stuck: tuple[str, ...] = ()) -> None:
        self.file = folder / "state.json"
        items = [workload("triton", f"r/ai102/server{C}"), workload("api", f"r/ai102/api{C}")]
        state = {"manifests": MANIFESTS, "workloads": items, "stuck": stuck, "calls": [], "applied": ""}
        self.file.write_text(json.dumps(state), encoding="utf-8")
        program = folder / "kubectl"
        program.write_text(f"#!{sys.executable} -IS\n{FAKE.format(state=str(self.file))}", encoding="utf-8")
        program.chmod(0o755)
        self.kubectl = Kubectl(str(program), (), "ai102", 5.0)
        self.overlay = Overlay(folder / "overlay", "ai102", folder / "build")

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
        return state


def test_an_overlay_is_applied_and_every_workload_of_ours_is_waited_for(tmp_path: Path) -> None:
    fake = Fake(tmp_path)
    images = applying.apply(fake.kubectl, fake.overlay, PUSHED)
    assert images == {**PUSHED, "ai102/api": f"r/ai102/api{C}"}
    assert f"image: r/ai102/api{C}\n" in fake.state()["applied"]
    calls = fake.state()["calls"]
    assert [call[0] for call in calls] == ["kustomize", "get", "apply", "get", "rollout", "rollout"]
    assert [call[2] for call in calls[-2:]] == ["deployment/triton", "deployment/api"]


def test_a_workload_that_does_not_get_ready_is_named(tmp_path: Path) -> None:
    fake = Fake(tmp_path, stuck=("deployment/api",))
    with pytest.raises(NotRolledOutError, match=r"deployment/api is not ready within 5 s \(error: timed out .*status"):
        applying.apply(fake.kubectl, fake.overlay, PUSHED)


def test_the_overlay_dev_for_another_namespace_names_no_host_of_the_first(tmp_path: Path) -> None:
    overlay = Overlay(K8S / "overlays" / "dev", "elsewhere", tmp_path / "build")
    text = overlay.text(Kubectl(kubectl_or_skip(), (), "elsewhere", 60.0))
    assert "triton-replicas.elsewhere.svc.cluster.local" in text
    assert "ai102.svc" not in text
    assert "namespace: ai102\n" not in text
    assert applying.names_in(text) == {"ai102/server", "ai102/models", "ai102/gateway", "ai102/api"}
