"""A stack in a cluster with Istio, Flagger and Prometheus; what lacks for it skips the test with its reason."""

from __future__ import annotations

import time

import pytest

from ai102.errors import UserError
from ai102.images.docker import found_docker
from ai102.images.dockerfiles import RECIPES, reference_of
from ai102.images.labels import version_of
from ai102.parts import Cache, program
from k8s.local import up
from k8s.local.plan import ROOT
from tests.cluster.calls.stack import Stack
from tests.cluster.conftest import addons_or_skip, note

ADDONS = ["prometheus", "istio", "flagger"]


def install(stack: Stack, cache: Cache) -> None:
    """Install the add-ons and then the stack, and wait until all of its pods are ready."""
    chosen = addons_or_skip(ADDONS, cache)
    try:
        program("envoy", cache=cache)
        docker = found_docker()
    except UserError as err:
        pytest.skip(str(err))
    references = [reference_of(RECIPES[name], version_of(ROOT)) for name in stack.images]
    if missing := [reference for reference in references if not docker.image_id(reference)]:
        pytest.skip(f"Docker has no image {' and '.join(missing)}: `make image` builds them")
    began = time.monotonic()
    up.up(stack.plan, cache, note, chosen)
    note(f"{time.monotonic() - began:5.1f} s  for {', '.join(ADDONS)}, in a cluster that is up")
    began = time.monotonic()
    stack.install()
    note(f"{time.monotonic() - began:5.1f} s  from images in Docker to {stack.overlay.parent.name}'s overlay ready")
