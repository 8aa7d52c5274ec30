"""What production needs in a cluster: KEDA, and the Service that the Prometheus operator would make."""

from __future__ import annotations

import json

import pytest

from ai102.errors import UserError
from ai102.parts import Cache, carried
from k8s.local import up
from tests.cluster.conftest import addons_or_skip, note
from tests.cluster.overlays.conftest import DEFINITIONS
from tests.cluster.overlays.site import Site

ADDONS = ["prometheus", "keda"]


def install(site: Site, cache: Cache) -> None:
    """The test skips where a part is not in the cache."""
    wanted = addons_or_skip(ADDONS, cache)
    try:
        for part in DEFINITIONS:
            carried(part, "definitions", cache=cache)
    except UserError as err:
        pytest.skip(str(err))
    up.up(site.plan, cache, note, wanted)
    site.apply_text(json.dumps(_service()))


def _service() -> dict[str, object]:
    """As the operator makes it for its own Prometheus."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "prometheus-operated", "namespace": "monitoring"},
        "spec": {
            "selector": {"app.kubernetes.io/name": "prometheus"},
            "ports": [{"name": "http", "port": 9090, "targetPort": 9090}],
        },
    }
