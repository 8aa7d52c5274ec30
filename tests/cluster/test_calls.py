"""No call is lost: faults and releases under load, the calls that failed, and the table of all of them."""

from __future__ import annotations

import http.client
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai102.images.base import base_for
from ai102.images.dockerfiles import RECIPES, build
from ai102.parts import Cache
from k8s.local import namespaces
from k8s.local.plan import ROOT, Plan
from k8s.local.programs import Programs
from tests.cluster.asking import pod_network
from tests.cluster.calls import measuring, table
from tests.cluster.calls.asking import BARE, GRPC, MODEL, OURS
from tests.cluster.calls.balancer import balancing
from tests.cluster.calls.driving import driven
from tests.cluster.calls.scenarios import SCENARIOS
from tests.cluster.calls.stack import IMAGES, NAMESPACE, Stack
from tests.cluster.conftest import note
from tests.cluster.mesh.installing import install
from tests.docker_engine import running_docker

MESHED = Path(__file__).parent / "mesh" / "calls"
ESSENTIAL_CALLS, ALL_CALLS = 3_000, 20_000
# Over one kept channel: the replica with the most calls against the one with the fewest. Half of the usual load: near
# its capacity a replica that the machine slows down rightly gets fewer calls (least connections).
BALANCED_CALLS, UNEVEN, BALANCED_USED = 2_000, 1.15, measuring.USED / 2


@pytest.fixture(scope="module")
def client(request: pytest.FixtureRequest) -> str:
    return BARE if request.config.getoption("--bare") else OURS


@pytest.fixture(scope="module")
def is_meshed(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--mesh"))


@pytest.fixture(scope="module")
def label(client: str, is_meshed: bool) -> str:
    """Of the table."""
    return f"mesh-{client}" if is_meshed else client


@pytest.fixture(scope="module")
def stack(programs: Programs, cluster: Plan, cache: Cache, is_meshed: bool) -> Iterator[Stack]:
    """Everything of overlay dev, with four replicas, ready in the cluster; images are built where they are older."""
    if not list((ROOT / "model_repository" / MODEL).glob("**/*.onnx")):
        pytest.skip("the reference models are not built: run `make engine`")
    with running_docker(ROOT / "build") as docker:
        for name in IMAGES:
            build(docker, ROOT, RECIPES[name], base_for(docker, ROOT, note), "host")
        if is_meshed:
            stack = Stack(cluster, programs.kubectl, MESHED)
            install(stack, cache)
        else:
            stack = Stack(cluster, programs.kubectl)
            stack.install()
        with balancing(cluster):
            yield stack


@pytest.fixture(scope="module")
def capacity(stack: Stack, label: str) -> Iterator[float]:
    """Calls a second of four replicas; at the end the table is printed and written."""
    capacity = measuring.capacity(stack)
    note(f"{capacity:5.0f} calls/s  are the capacity of four replicas of a quarter of a core")
    yield capacity
    text = table.text_of(label, table.kept(label), capacity)
    sys.stdout.write(f"\n{text}wrote {table.write(label, text)}\n")


def test_one_kept_channel_is_balanced_over_all_replicas(stack: Stack, capacity: float) -> None:
    before = {pod.name: answered(stack, pod.name) for pod in stack.ready("triton")}
    rate = BALANCED_USED * capacity
    with driven(stack.plan, stack.place(), ways=(GRPC,), clients=1, rate=rate, least_calls=BALANCED_CALLS) as load:
        load.wait_for_calls()
        calls = load.end()
    counts = {name: answered(stack, name) - count for name, count in before.items()}
    note(f"{', '.join(map(str, sorted(counts.values())))} of {len(calls)} calls over one channel went to each replica")
    assert len(counts) == 4
    assert max(counts.values()) <= UNEVEN * min(counts.values())


@pytest.mark.parametrize("number", SCENARIOS, ids=lambda number: f"{number}-{SCENARIOS[number].name.replace(' ', '-')}")
def test_no_call_is_lost(
    request: pytest.FixtureRequest, stack: Stack, capacity: float, client: str, label: str, number: int
) -> None:
    scenario, has_all = SCENARIOS[number], request.config.getoption("--all-scenarios")
    if not (has_all or scenario.is_essential):
        pytest.skip('one of those that take long: make cluster-test ARGS="--all-scenarios"')
    least = request.config.getoption("--calls") or (ALL_CALLS if has_all else ESSENTIAL_CALLS)
    row = measuring.measured(stack, scenario, measuring.USED * capacity, least, client)
    table.keep(table.Entry(number, label, str(scenario.goal), row))
    assert row.calls >= least
    if client == OURS:
        assert scenario.goal.is_met(row), row


def answered(stack: Stack, pod: str) -> int:
    """How many requests of the model a replica has answered, as it counts them itself."""

    def ask() -> str:
        connection = http.client.HTTPConnection("127.0.0.1", 8002, timeout=10)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    network: Path = pod_network(stack.plan, pod, NAMESPACE)
    found = re.search(
        rf'^nv_inference_request_success{{model="{MODEL}"[^}}]*}} (\S+)$', namespaces.inside(network, ask), re.M
    )
    return int(float(found.group(1))) if found else 0
