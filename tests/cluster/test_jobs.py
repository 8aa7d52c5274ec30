"""No job is lost in the cluster: parts are killed, emptied and replaced while jobs are handed in and done."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ai102.compose.parts import part_images
from ai102.errors import UserError
from ai102.images.base import base_for
from ai102.images.dockerfiles import RECIPES, build
from ai102.images.saved import saved_image
from ai102.parts import Cache
from k8s.local import loading, registry, up
from k8s.local.plan import ROOT, Plan
from k8s.local.programs import Programs
from k8s.local.waiting import until
from tests.cluster.calls.asking import MODEL
from tests.cluster.calls.balancer import balancing
from tests.cluster.calls.driving import started
from tests.cluster.calls.stack import IMAGES, Stack
from tests.cluster.conftest import addons_or_skip, note
from tests.cluster.jobs.faults import BACK_WITHIN_S, ESSENTIAL, FAULTS
from tests.cluster.jobs.handing_in import ALL_WITHIN_S, Order, Report
from tests.cluster.overlays import volumes
from tests.cluster.overlays.site import Site
from tests.docker_engine import running_docker

OVERLAY = Path(__file__).parent / "jobs" / "overlay"
SCALED = Path(__file__).parent / "jobs" / "scaled"
# By the name that the manifests give each image, the part or stage that it is made of here.
OTHERS = {"redis": "redis", "postgres": "postgres", "daprio/daprd": "dapr"}
JOBS_A_SECOND = 60.0
BEFORE_S, AFTER_S = 2.0, 3.0
# More workers than there are, once a job has waited for 30 s.
MORE_WORKERS, ADDED_WITHIN_S = 3, 180.0


@pytest.fixture(scope="module")
def stack(programs: Programs, cluster: Plan, cache: Cache) -> Iterator[Stack]:
    """Overlay dev with jobs, ready in the cluster."""
    if not list((ROOT / "model_repository" / MODEL).glob("**/*.onnx")):
        pytest.skip("the reference models are not built: run `make engine`")
    made = Stack(cluster, programs.kubectl, OVERLAY)
    with running_docker(ROOT / "build") as docker:
        base = base_for(docker, ROOT, note)
        for name in IMAGES:
            build(docker, ROOT, RECIPES[name], base, "host")
        try:
            references = part_images(docker, ROOT, base, tuple(OTHERS.values()))
        except UserError as err:
            pytest.skip(str(err))
        for name, part in OTHERS.items():
            image = saved_image(docker, references[part], ROOT / "build" / "images" / "saved" / part)
            (pushed,) = registry.push(cluster, [image])
            loading.remember(cluster, {name: pushed})
        volumes.make(Site(cluster, programs.kubectl, {}, made.secrets))
        began_s = time.monotonic()
        made.install()
        note(f"{time.monotonic() - began_s:5.1f} s  until everything with jobs is ready")
        with balancing(cluster):
            yield made


@contextmanager
def handing_in(stack: Stack, name: str) -> Iterator[Report]:
    """Jobs are handed in while the block runs; afterwards the report says what became of them."""
    report, file = Report(), stack.plan.folder / "jobs.json"
    order = Order(stack.place(), JOBS_A_SECOND, f"{name}-{os.urandom(4).hex()}", str(file))
    with started(stack.plan, "tests.cluster.jobs.handing_in", order) as process:
        time.sleep(BEFORE_S)
        yield report
        time.sleep(AFTER_S)
        assert process.poll() is None, "handing in has ended in the middle"
        assert process.stdin is not None
        process.stdin.close()
        try:
            status = process.wait(ALL_WITHIN_S + 60)
        except subprocess.TimeoutExpired as err:
            raise AssertionError("not every job was done") from err
        assert status == 0, "handing in has failed: its words are above"
    report.__dict__.update(json.loads(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", FAULTS)
def test_no_job_is_lost(request: pytest.FixtureRequest, stack: Stack, name: str) -> None:
    if not (name in ESSENTIAL or request.config.getoption("--all-scenarios")):
        pytest.skip('one of those that take long: make cluster-test ARGS="--all-scenarios"')
    stack.wait_ready(BACK_WITHIN_S)
    with handing_in(stack, name.replace(" ", "-").replace("'", "")) as report:
        began_s = time.monotonic()
        FAULTS[name](stack)
        stack.wait_ready(BACK_WITHIN_S)
        took_s = time.monotonic() - began_s
    note(
        f"{name}: {report.accepted} jobs, {report.states}, {report.wrong} wrong, {report.doubled} doubled; "
        f"all well after {took_s:.1f} s; slowest call {report.slowest_call_s:.1f} s; "
        f"last result {report.done_s:.1f} s after the last call"
    )
    assert report.accepted > JOBS_A_SECOND
    assert report.states == {"succeeded": report.accepted}, report.errors[:3]
    assert (report.wrong, report.doubled) == (0, 0)


def test_workers_are_added_while_jobs_wait_too_long(
    request: pytest.FixtureRequest, stack: Stack, programs: Programs, cache: Cache
) -> None:
    if not request.config.getoption("--all-scenarios"):
        pytest.skip('takes minutes: make cluster-test ARGS="--all-scenarios"')
    wanted = addons_or_skip(["prometheus", "keda"], cache)
    stack.wait_ready(BACK_WITHIN_S)
    up.up(stack.plan, cache, note, wanted)
    loading.apply(stack.plan, programs.kubectl, SCALED)
    with handing_in(stack, "scaling") as report:
        began_s = time.monotonic()
        stack.kubectl("scale", "deployment/triton", "--replicas=0")
        until(lambda: len(stack.ready("worker")) >= MORE_WORKERS, "workers were added", ADDED_WITHIN_S)
        added_s = time.monotonic() - began_s
        stack.kubectl("scale", "deployment/triton", "--replicas=2")
        stack.wait_ready(BACK_WITHIN_S)
    note(f"{added_s:.1f} s  without Triton until a worker was added; {report.accepted} jobs, {report.states}")
    assert report.states == {"succeeded": report.accepted}, report.errors[:3]
    assert (report.wrong, report.doubled) == (0, 0)
