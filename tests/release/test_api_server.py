"""A real API server takes the patches of promote, rollback and abort, in the plain form and with copied models.

It has no controllers, so that the test writes the status of a rollout that ended.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ai102.cluster.asking import Kubectl
from ai102.errors import UserError
from ai102.release import keys
from ai102.release.deployment import Running
from ai102.release.history import History
from ai102.release.promotion import Promotion
from ai102.release.rollout import Cluster, NotReadyError
from ai102.release.store import Store
from tests.kubernetes.api_server import ApiServer, api_server
from tests.kubernetes.kustomized import with_components
from tests.release.documents import BUILT, release

pytestmark = pytest.mark.slow
SERVER, MODELS = "ai102/server:0.2.0", "ai102/models:0.2.0"
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ai102"}}
TRITON = "deployment/triton"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("api-server")) as running:
        yield running


def promotion(server: ApiServer, folder: Path, timeout_s: float) -> Promotion:
    kubectl = Kubectl(server.kubectl, (f"--kubeconfig={server.kubeconfig}",), "ai102", 60.0)
    store = Store(folder / "store", History(folder / "store" / "history.db"), keys.known(folder))
    cluster = Cluster(kubectl, "a", lambda _: None, 0.1)
    return Promotion(cluster, store, folder, "ann", lambda: "now", "", timeout_s)


def is_ready(server: ApiServer) -> None:
    """What the controller writes at the end of a rollout."""
    item = json.loads(server.done("get", TRITON, "--namespace=ai102", "--output=json"))
    count = item["spec"]["replicas"]
    numbers = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas", "readyReplicas"), count)
    status = {"status": {"observedGeneration": item["metadata"]["generation"], **numbers}}
    patch = ("--subresource=status", "--type=merge", f"--patch={json.dumps(status)}")
    server.done("patch", TRITON, "--namespace=ai102", *patch)


def pod(server: ApiServer) -> dict[str, Any]:
    item = json.loads(server.done("get", TRITON, "--namespace=ai102", "--output=json"))
    spec: dict[str, Any] = item["spec"]["template"]["spec"]
    return spec


def images(server: ApiServer) -> dict[str, str]:
    spec = pod(server)
    found = {each["name"]: each["image"] for kind in ("initContainers", "containers") for each in spec.get(kind, ())}
    return found | {each["name"]: each["image"]["reference"] for each in spec["volumes"] if "image" in each}


@pytest.mark.parametrize(
    ("components", "servers", "models"),
    [((), {"triton"}, {"models"}), (("model-copy",), {"triton", "lend-programs"}, {"copy-models"})],
    ids=["image volume", "copied models"],
)
def test_promote_abort_and_rollback_change_both_images(
    server: ApiServer, tmp_path: Path, components: tuple[str, ...], servers: set[str], models: set[str]
) -> None:
    manifests = with_components("base", components)
    deployment = next(
        each for each in manifests if each["metadata"]["name"] == "triton" and each["kind"] == "Deployment"
    )
    server.run("delete", TRITON, "--namespace=ai102", "--ignore-not-found")
    server.done("apply", "--filename=-", text=yaml.safe_dump_all([NAMESPACE, deployment]))
    is_ready(server)
    keys.new(tmp_path / "ann")
    quick, patient = promotion(server, tmp_path, 0.1), promotion(server, tmp_path, 60)
    one, two = (
        quick.store.add(release(digit), BUILT, keys.signer(tmp_path / "ann"))[0].release for digit in ("b", "c")
    )

    def all_are(to: Running) -> None:
        expected = dict.fromkeys(servers, to.server) | dict.fromkeys(models, to.models)
        assert images(server) == expected
        assert patient.cluster.deployment().running == to

    base = patient.cluster.deployment()
    assert base.running == Running("", SERVER, MODELS)
    before = pod(server)
    with pytest.raises(NotReadyError, match=f"{one.name} is not ready after 0.1 s"):
        quick.promote(one.name)
    all_are(_running(one))
    is_ready(server)
    assert patient.promote(one.name) == one.name
    with pytest.raises(NotReadyError):
        quick.promote(two.name)
    all_are(_running(two))
    with pytest.raises(NotReadyError):
        quick.abort()
    all_are(_running(one))
    is_ready(server)
    assert patient.promote(one.name) == one.name
    with pytest.raises(UserError, match="was changed by somebody else meanwhile: nothing was done"):
        patient.cluster.change(base, _running(two), base.running)
    all_are(_running(one))
    patient.cluster.change(patient.cluster.deployment(), base.running, None)
    assert pod(server) == before


def _running(one: Any) -> Running:
    chosen = one.document.images
    return Running(one.name, chosen.server, chosen.models)
