"""One cluster for all tests of overlays: images in its registry, a storage class, definitions of operators' kinds."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from ai102.errors import UserError
from ai102.images.docker import found_docker
from ai102.parts import Cache, carried
from k8s.local import down, up
from k8s.local.plan import Plan
from k8s.local.programs import Programs
from tests.cluster.conftest import note
from tests.cluster.overlays import images
from tests.cluster.overlays.site import Site

# Parts whose operators do not run here: their kinds are checked and kept by the API server.
DEFINITIONS = ("prometheus-operator", "cert-manager")
# "overlays" runs private, production, gpu and health; "all" what is marked as thorough, too.
WHICH = "AI102_CLUSTER"
thorough = pytest.mark.skipif(os.environ.get(WHICH) != "all", reason=f"takes minutes more: set {WHICH}=all")


@pytest.fixture(scope="package")
def site(programs: Programs, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if os.environ.get(WHICH) not in ("overlays", "all"):
        pytest.skip(f"starts some twenty pods: set {WHICH}=overlays, or all")
    try:
        docker = found_docker()
        if absent := images.missing(docker):
            pytest.skip(f"not built: {', '.join(absent)}; run `make image`")
    except UserError as err:
        pytest.skip(str(err))
    plan = Plan.named("ai102-overlays")
    down.down(plan)
    try:
        up.up(plan, cache, note)
        began = time.monotonic()
        digests = images.push_all(plan, docker, note)
        note(f"{time.monotonic() - began:5.1f} s  {len(digests)} images made and pushed")
        made = Site(plan, programs.kubectl, digests, tmp_path_factory.mktemp("secrets") / "secrets")
        define(made, cache)
        yield made
    finally:
        down.down(plan)
    assert down.leftovers(plan) == []


@pytest.fixture(scope="package")
def watched(site: Site) -> Site:
    """The same, where there are images of all that watches: Prometheus, Alertmanager, collector, Zipkin."""
    if absent := sorted(part for name, part in images.OF_PARTS.items() if name not in site.digests):
        pytest.skip(f"not in the cache: run `ai102 parts build {' '.join(absent)}`")
    return site


def define(site: Site, cache: Cache) -> None:
    """The kinds of operators. Where a part is not in the cache, the tests that need its kinds say so."""
    for part in DEFINITIONS:
        with suppress(UserError):
            folder = str(carried(part, "definitions", cache=cache))
            site.run("apply", "--server-side", "--force-conflicts", "-f", folder)
            site.run("wait", "--for=condition=Established", "--timeout=60s", "-f", folder)
