"""A real Kubernetes API server takes every overlay, strictly, and lets its pods into their namespaces.

Definitions of operators' kinds are those of the parts in the cache, and of the folder that AI102_CRDS names, such as
Istio's. What is of a kind that is defined nowhere is left out.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest

from ai102.errors import UserError
from ai102.parts import carried
from tests.kubernetes.api_server import ApiServer, api_server
from tests.kubernetes.kustomized import COMPONENTS, OVERLAYS, in_order, overlay, pod_templates, with_components

pytestmark = [pytest.mark.slow, pytest.mark.long]
# Parts that carry definitions: what each calls them, the folder in it, and the kinds of ours that they define.
DEFINITIONS = {
    "keda": ("manifests", "crd/bases", {"ScaledObject"}),
    "prometheus-operator": ("definitions", "", {"PrometheusRule", "ServiceMonitor"}),
    "cert-manager": ("definitions", "", {"Certificate"}),
    "flagger": ("crds", "", {"Canary", "MetricTemplate"}),
}
ApplyNamespaces = Callable[[Sequence[dict[str, Any]]], None]
OF_ISTIO = {"AuthorizationPolicy", "DestinationRule", "PeerAuthentication", "VirtualService"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("api-server")) as running:
        yield running


@pytest.fixture(scope="module")
def kinds(server: ApiServer) -> set[str]:
    """That the server knows, with those of operators whose parts are in the cache."""
    folders = [os.environ["AI102_CRDS"]] if "AI102_CRDS" in os.environ else []
    for part, (name, below, _) in DEFINITIONS.items():
        with suppress(UserError):
            folders.append(str(carried(part, name) / below))
    for folder in folders:
        server.done("apply", "--server-side", "--force-conflicts", "--filename", folder)
        server.done("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    return server.kinds()


def known(manifests: Sequence[dict[str, Any]], kinds: set[str]) -> list[dict[str, Any]]:
    """Those that can be checked; the others are few, and named."""
    unknown = {manifest["kind"] for manifest in manifests} - kinds
    assert unknown <= OF_ISTIO.union(*(of_part for _, _, of_part in DEFINITIONS.values()))
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def apply(server: ApiServer, manifests: Sequence[dict[str, Any]], *words: str) -> str:
    return server.done(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--validate=strict",
        "--filename=-",
        *words,
        text=listed(manifests),
    )


def listed(manifests: Sequence[dict[str, Any]]) -> str:
    """As kubectl reads them at once; it would check those in one List by itself, and not ask the server."""
    return "\n".join(map(json.dumps, manifests))


@pytest.fixture(scope="module")
def apply_namespaces(server: ApiServer) -> ApplyNamespaces:
    """Of these manifests, where the server does not have them so already."""
    applied: dict[str, dict[str, Any]] = {}

    def namespaces_applied(manifests: Sequence[dict[str, Any]]) -> None:
        named = {each["metadata"]["name"]: each for each in manifests if each["kind"] == "Namespace"}
        if any(applied.get(name) != each for name, each in named.items()):
            apply(server, list(named.values()))
            applied.update(named)

    return namespaces_applied


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_is_taken_and_its_pods_are_let_in(
    name: str, server: ApiServer, kinds: set[str], apply_namespaces: ApplyNamespaces
) -> None:
    manifests = known(overlay(name), kinds)
    apply_namespaces(manifests)
    assert apply(server, manifests, "--dry-run=server").count("(server dry run)") == len(manifests)
    apply(server, manifests)
    pods = []
    for owner, template in pod_templates(manifests):
        namespace = next(each["metadata"]["namespace"] for each in manifests
                         if f"{each['kind']}/{each['metadata']['name']}" == owner)  # fmt: skip
        claims = [] if not owner.startswith("StatefulSet/") else [{"name": "data", "emptyDir": {}}]
        spec = template["spec"] | {"volumes": [*template["spec"].get("volumes", []), *claims]}
        metadata = template["metadata"] | {"name": owner.lower().replace("/", "-"), "namespace": namespace}
        pods.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    answer = created(server, *pods)
    assert answer.returncode == 0, answer.stderr
    assert "would violate PodSecurity" not in answer.stderr
    assert answer.stdout.count("(server dry run)") == len(pods)


@pytest.fixture(scope="module")
def no_deployments(server: ApiServer) -> None:
    """A canary's Deployment has another selector, which one that an overlay has left would not take."""
    server.done("delete", "deployments", "--all", "--namespace=ai102")


@pytest.mark.usefixtures("no_deployments")
@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_is_taken(name: str, server: ApiServer, kinds: set[str], apply_namespaces: ApplyNamespaces) -> None:
    manifests = known(with_components("base", in_order([name])), kinds)
    apply_namespaces(manifests)
    assert apply(server, manifests, "--dry-run=server").count("(server dry run)") == len(manifests)


def test_a_misspelt_field_would_be_refused(
    server: ApiServer, kinds: set[str], apply_namespaces: ApplyNamespaces
) -> None:
    manifests = known(overlay("dev"), kinds)
    apply_namespaces(manifests)
    next(each for each in manifests if each["kind"] == "Deployment")["spec"]["replica"] = 2
    words = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-")
    refused = server.run(*words, text=listed(manifests))
    assert refused.returncode != 0
    assert ".spec.replica" in refused.stderr


def test_a_pod_with_more_rights_would_be_refused(server: ApiServer, kinds: set[str]) -> None:
    manifests = known(overlay("dev"), kinds)
    apply(server, manifests)
    template = dict(pod_templates(manifests))["Deployment/gateway"]
    template["spec"]["containers"][0]["securityContext"]["capabilities"] = {"add": ["NET_ADMIN"]}
    metadata = template["metadata"] | {"name": "pod", "namespace": "ai102"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    refused = created(server, pod)
    assert 'violates PodSecurity "restricted' in refused.stderr


def by_digest(text: str) -> str:
    """The name of an image with a digest; what it had of a tag goes."""
    return f"{text.partition(':')[0]}@sha256:{'0' * 64}"


@pytest.mark.parametrize("wrong", ["container", "init container", "models"])
def test_where_images_come_by_digest_alone_a_tag_is_refused(wrong: str, server: ApiServer, kinds: set[str]) -> None:
    manifests = known(with_components("base", ["digests-only"]), kinds)
    apply(server, manifests)
    template = dict(pod_templates(manifests))["Deployment/triton"]
    spec = template["spec"]
    (container,) = spec["containers"]
    (models,) = [volume for volume in spec["volumes"] if "image" in volume]
    spec["initContainers"] = [{**container, "name": "first", "ports": [], "startupProbe": None, "readinessProbe": None,
                               "livenessProbe": None, "lifecycle": None}]  # fmt: skip
    for each in (container, *spec["initContainers"]):
        each["image"] = by_digest(each["image"])
    models["image"]["reference"] = by_digest(models["image"]["reference"])
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template["metadata"] | {"name": "pod", "namespace": "ai102"},
        "spec": spec,
    }
    try:
        assert created(server, pod).returncode == 0, created(server, pod).stderr
        if wrong == "models":
            models["image"]["reference"] = "ai102/models:1"
        else:
            named = container if wrong == "container" else spec["initContainers"][0]
            named["image"] = "ai102/server:1"
        # The server compiles a policy that is new.
        ends = time.monotonic() + 30
        while (refused := created(server, pod)).returncode == 0 and time.monotonic() < ends:
            time.sleep(0.2)
        tagged = "ai102/models:1" if wrong == "models" else "ai102/server:1"
        assert f"run images by digest alone (NAME@sha256:...), not {tagged}" in refused.stderr
    finally:
        server.done("label", "namespace", "ai102", "ai102.example/images-")


def created(server: ApiServer, *pods: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return server.run("create", "--dry-run=server", "--validate=strict", "--filename=-", text=listed(pods))
