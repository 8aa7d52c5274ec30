"""Each symptom of docs/kubernetes-troubleshooting.md in a real cluster: `ai102 cluster status` names its cause."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.kubernetes import secrets
from ai102.parts import Cache
from k8s.local import api, faults, images, loading, network, registry, up
from k8s.local.plan import REGISTRY, ROOT, Plan
from k8s.local.programs import Programs
from k8s.local.waiting import until
from tests.cluster import broken
from tests.cluster.broken import NAMESPACE, SYMPTOMS
from tests.cluster.conftest import note, seconds_until
from tests.cluster.states import Findings, findings, state, status

WITHIN_S = 90.0
PERL = Path("/usr/bin/perl")
START_WITHIN_S = 300.0
OUR_NAMESPACE = "ai102"
OURS = ("ai102/server", "ai102/models", "ai102/gateway", "ai102/api")
NO_MODELS = f"docker.io/ai102/models@{broken.NO_DIGEST}"
# All processes of Python models end.
KILL_STUBS = """\
import os, pathlib
for process in pathlib.Path("/proc").iterdir():
    if process.name.isdecimal() and b"python_backend_stub" in (process / "cmdline").read_bytes().partition(b"\\0")[0]:
        os.kill(int(process.name), 9)
"""


def until_said(plan: Plan, rule: str, about: str, why: str, within_s: float = WITHIN_S) -> None:
    until(lambda: why in findings(plan, NAMESPACE).get((rule, about), ""), f"{rule} {about}: {why}", within_s)


@dataclass(frozen=True)
class Overlay:
    """Our overlay dev, applied."""

    plan: Plan
    program: Path
    folder: Path

    def kubectl(self, *words: str) -> str:
        return api.kubectl(self.plan, self.program, f"--namespace={OUR_NAMESPACE}", *words)

    def findings(self) -> Findings:
        return findings(self.plan, OUR_NAMESPACE)

    def make_secrets(self) -> None:
        secrets.make(self.folder, ("gateway",))
        api.apply(self.plan, self.program, secrets.manifests(self.folder))


@pytest.fixture(scope="module")
def references(cluster: Plan, programs: Programs) -> tuple[str, str]:
    """The images, with perl and with pause, in the registry."""
    if not PERL.exists():
        pytest.skip(f"no {PERL}: apt-get install perl-base")
    first, second = registry.push(cluster, [images.image_of(PERL, "perl"), images.image_of(programs.pause)])
    return first, second


@pytest.fixture(scope="module")
def said(cluster: Plan, programs: Programs, references: tuple[str, str]) -> Findings:
    """What the status said of the broken workloads, once it has named all, or the time is over."""
    api.kubectl(cluster, programs.kubectl, "taint", "node", "n3", "broken=yes:NoSchedule", "--overwrite")
    api.apply(cluster, programs.kubectl, broken.manifests(*references))
    wanted = {(rule, about) for rule, about, _ in SYMPTOMS.values()}
    heard: Findings = {}
    began = time.monotonic()
    while not wanted <= heard.keys() and time.monotonic() < began + WITHIN_S:
        heard |= findings(cluster, NAMESPACE)
    note(f"{time.monotonic() - began:5.1f} s  from broken manifests to {len(wanted)} symptoms named by the status")
    return heard


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_the_status_names_the_symptom_and_its_cause(said: Findings, symptom: str) -> None:
    rule, about, why = SYMPTOMS[symptom]
    assert why in said.get((rule, about), f"nothing of {rule}; of {about} it says {said}")


def test_nothing_else_is_said(said: Findings) -> None:
    """A finding that nobody caused is a false one. Pods start for a moment, so that they are missing counts not."""
    caused = {(rule, about) for rule, about, _ in SYMPTOMS.values()}
    assert {place for place in said if place not in caused and place[0] != "pods_are_missing"} == {
        ("container_crashes", "memory")
    } & said.keys()


def test_the_screen_has_a_next_step_for_each_and_no_private_key(cluster: Plan, said: Findings) -> None:
    done = status(cluster, f"--namespace={NAMESPACE}")
    assert done.returncode == 1
    assert "next: " in done.stdout
    everything = done.stdout + status(cluster, f"--namespace={NAMESPACE}", "--json").stdout
    assert "PRIVATE KEY" not in everything


def test_two_releases_at_once_are_named(cluster: Plan, programs: Programs, references: tuple[str, str]) -> None:
    for new in (False, True):
        api.apply(cluster, programs.kubectl, broken.halfway(*references, new=new))
        if not new:
            done = ("rollout", "status", "deployment", "halfway", "-n", NAMESPACE, "--timeout=60s")
            api.kubectl(cluster, programs.kubectl, *done)
    until_said(cluster, "two_releases_run", "halfway", "two releases answer calls: 2 with pause ")


def test_a_drain_that_waits_is_named(cluster: Plan, programs: Programs, said: Findings) -> None:
    api.kubectl(cluster, programs.kubectl, "cordon", "n1")
    until_said(
        cluster, "budget_blocks_drain", "budget gateway", "so the drain of n1 waits: 2 are healthy and 2 must stay"
    )
    api.kubectl(cluster, programs.kubectl, "uncordon", "n1")


@pytest.fixture(scope="module")
def overlay(cluster: Plan, programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Overlay:
    """Our overlay dev with real replicas, at first without its Secrets."""
    try:
        loading.load(cluster, [], note)
    except UserError as err:
        pytest.skip(str(err))
    if lacks := [name for name in OURS if name not in loading.loaded(cluster)]:
        pytest.skip(f"no image {', '.join(lacks)}: `make image` builds them")
    loading.apply(cluster, programs.kubectl, ROOT / "k8s" / "overlays" / "dev")
    return Overlay(cluster, programs.kubectl, tmp_path_factory.mktemp("secrets"))


def test_an_overlay_without_its_secrets_says_which_and_how_to_make_them(overlay: Overlay) -> None:
    for workload, secret in (("triton", "seal-keys"), ("gateway", "gateway-certificate")):
        why = "configuration_is_missing", workload
        until(lambda: "Secret" in overlay.findings().get(why, ""), f"{workload} misses {secret}", WITHIN_S)  # noqa: B023


def test_an_overlay_that_is_well_is_healthy_and_names_its_release(overlay: Overlay) -> None:
    overlay.make_secrets()
    waited_s = seconds_until(lambda: bool(state(overlay.plan, OUR_NAMESPACE)["healthy"]), "all is well", START_WITHIN_S)
    note(f"{waited_s:5.1f} s  from Secrets to a healthy overlay dev")
    answer = state(overlay.plan, OUR_NAMESPACE)
    images = {row["image"].removeprefix("docker.io/"): row for row in answer["release"]}
    assert set(images) == set(OURS)
    assert all(row["version"].startswith("sha256:") and row["pods"] == row["of"] for row in images.values())
    assert {pod["role"] for pod in answer["pods"]} == {"triton", "gateway", "api", "issuer"}
    assert answer["certificate"]["secret"] == "gateway-certificate"


def test_a_model_whose_process_died_in_a_real_replica_is_named(overlay: Overlay) -> None:
    (pod, *_) = [pod["name"] for pod in state(overlay.plan, OUR_NAMESPACE)["pods"] if pod["role"] == "triton"]
    overlay.kubectl("exec", pod, "--", "python3", "-c", KILL_STUBS)
    until(lambda: ("model_process_dies", "triton") in overlay.findings(), "the dead model is named", START_WITHIN_S)


def test_a_models_image_that_is_not_in_the_registry_is_named(overlay: Overlay) -> None:
    pods = {"volumes": [{"name": "models", "image": {"reference": NO_MODELS}}]}
    overlay.kubectl("patch", "deployment", "triton", f"--patch={json.dumps({'spec': {'template': {'spec': pods}}})}")
    why = "image docker.io/ai102/models@sha256:dededededede cannot be pulled: docker.io has no such image"
    until(lambda: why in overlay.findings().get(("image_is_not_pulled", "triton"), ""), why, WITHIN_S)
    overlay.kubectl("rollout", "undo", "deployment", "triton")


def test_a_gateway_without_replicas_is_named(overlay: Overlay) -> None:
    overlay.kubectl("scale", "deployment", "triton", "--replicas=0")
    until(lambda: ("gateway_has_no_replica", "gateway") in overlay.findings(), "it has no replica", WITHIN_S)
    overlay.kubectl("delete", "namespace", OUR_NAMESPACE, "--wait=false")


@pytest.fixture
def without_registry(cluster: Plan) -> Iterator[None]:
    network.cut(cluster, REGISTRY)
    yield
    network.join(cluster, REGISTRY)


def test_a_registry_that_cannot_be_reached_is_named(
    cluster: Plan, programs: Programs, said: Findings, without_registry: None
) -> None:
    item = broken.deployment("no-registry", f"ai102-cluster/other@{broken.NO_DIGEST}")
    api.apply(cluster, programs.kubectl, broken.listed(item))
    until_said(cluster, "image_is_not_pulled", "no-registry", "docker.io cannot be reached from the node")


def test_a_node_that_is_cut_off_is_named(cluster: Plan, cache: Cache, said: Findings) -> None:
    faults.inject(cluster, "cut-network", "n1")
    waited_s = seconds_until(
        lambda: "it is NotReady" in findings(cluster, NAMESPACE).get(("node_is_not_ready", "node n1"), ""),
        "n1 is named",
        WITHIN_S,
    )
    note(f"{waited_s:5.1f} s  from cut to named by the status")
    assert up.up(cluster, cache, lambda _: None) == ["n1: the network, which was cut"]


def test_a_full_disk_is_named(cluster: Plan, cache: Cache, said: Findings) -> None:
    faults.inject(cluster, "fill-disk", "n2")
    until_said(cluster, "node_is_short", "node n2", "it has DiskPressure")
    faults.inject(cluster, "free-disk", "n2")


def test_a_cluster_that_does_not_answer_is_one_line(cluster: Plan) -> None:
    faults.inject(cluster, "pause-control-plane", "")
    try:
        began = time.monotonic()
        done = status(cluster, "--timeout-s=2")
        assert time.monotonic() - began < 30
    finally:
        faults.inject(cluster, "resume-control-plane", "")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("ai102: kubectl")
    assert "see that the cluster is up" in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--namespace=nowhere",), "nothing runs in namespace nowhere"),
        (("--context=nobody",), 'context "nobody" does not exist'),
    ],
)
def test_a_mistake_of_the_user_is_one_line(cluster: Plan, options: tuple[str, ...], words: str) -> None:
    until(lambda: api.is_ready(cluster), "the API server is ready", WITHIN_S)
    done = status(cluster, *options)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert words in line
