"""Components that change where models and sealed requests lie, on `dev` with running pods."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from k8s.local.plan import ROOT, node_named
from tests.cluster.conftest import note, seconds_until
from tests.cluster.overlays import store as stores
from tests.cluster.overlays import volumes
from tests.cluster.overlays.calls import caller_of
from tests.cluster.overlays.conftest import thorough
from tests.cluster.overlays.site import K8S, NAMESPACE, READY_WITHIN_S, Object, Site
from tests.cluster.overlays.store import Store
from tests.parts_of import program_or_skip

pytestmark = thorough
MODELS = ROOT / "model_repository"
NODE = "n2"


@contextmanager
def running(site: Site, *components: str, literals: Mapping[str, Mapping[str, str]] | None = None) -> Iterator[Site]:
    """dev with components, until the block ends; `literals`: what a ConfigMap of a component has here."""
    site.make_namespace()
    try:
        site.apply("dev", components, literals=literals)
        waited_s = seconds_until(lambda: not site.unfinished(), "every pod is ready", READY_WITHIN_S)
        note(f"{waited_s:5.1f} s  dev with {', '.join(components)}: from applied to all pods ready")
        yield site
    finally:
        site.clear()


def asked_in(site: Site, pod: Object, *command: str) -> str:
    return site.run("exec", f"--namespace={NAMESPACE}", pod["metadata"]["name"], "--", *command)


@pytest.fixture(scope="module")
def copied(site: Site) -> Iterator[Site]:
    """Models copied when a pod starts, and one folder for sealed requests of all replicas."""
    volumes.make(site)
    with running(site, "model-copy", "sealed-once"):
        yield site


def test_replicas_serve_models_that_were_copied_out_of_their_image(copied: Site) -> None:
    assert caller_of(copied).embed().status == 200
    for pod in copied.pods("triton"):
        states = [status["state"]["terminated"]["exitCode"] for status in pod["status"]["initContainerStatuses"]]
        assert states == [0, 0]
        assert "image" not in next(volume for volume in pod["spec"]["volumes"] if volume["name"] == "models")


def test_what_one_replica_notes_of_sealed_requests_another_one_sees(copied: Site) -> None:
    first, second = copied.pods("triton")
    asked_in(copied, first, "python3", "-c", "open('/run/seen/of-the-test', 'w').close()")
    assert "of-the-test" in asked_in(copied, second, "python3", "-c", "import os; print(os.listdir('/run/seen'))")
    asked_in(copied, second, "python3", "-c", "import os; os.remove('/run/seen/of-the-test')")


def test_replicas_serve_models_of_a_claim_that_was_filled(site: Site) -> None:
    volumes.make(site)
    folder = volumes.folder_of(site.plan, node_named(NODE), 0)
    shutil.copytree(MODELS, folder, dirs_exist_ok=True)
    # The one volume with models; else any empty one would do for the claim.
    site.run("delete", "persistentvolume", *(f"{node}-{number}" for node in ("n1", "n3") for number in volumes.NUMBERS))
    site.run("delete", "persistentvolume", f"{NODE}-1", f"{NODE}-2")
    with running(site, "model-pvc"):
        assert {pod["spec"]["nodeName"] for pod in site.pods("triton")} == {NODE}
        assert caller_of(site).embed().status == 200
        mounted = asked_in(
            site, site.pods("triton")[0], "python3", "-c", "import os; print(os.access('/models', os.W_OK))"
        )
        assert mounted.strip() == "False"


@pytest.fixture(scope="module")
def store(site: Site) -> Store:
    return stores.start(site.plan, program_or_skip("versitygw"), MODELS)


def test_a_login_that_may_read_writes_nothing_and_another_one_reads_nothing(store: Store) -> None:
    key = f"{stores.RELEASE}/digits_int8/config.pbtxt"
    asked = [("GET", stores.READER), ("DELETE", stores.READER), ("GET", stores.STRANGER)]
    assert [store.status_of(method, login, key) for method, login in asked] == [200, 403, 403]


def test_replicas_serve_models_of_a_store_that_they_may_only_read(site: Site, store: Store) -> None:
    login = (f"--from-literal=access-key-id={stores.READER}",
             f"--from-literal=secret-access-key={store.secrets[stores.READER]}")  # fmt: skip
    site.make_namespace()
    site.run("create", "secret", "generic", "model-storage", f"--namespace={NAMESPACE}", *login)
    place = {"models": f"s3://{stores.BUCKET}/{stores.RELEASE}", "endpoint": stores.ENDPOINT, "region": stores.REGION}
    with running(site, "model-s3", literals={"model-storage": place}):
        assert caller_of(site).embed().status == 200
        (pod, *_) = site.pods("triton")
        assert "objects" in site.run("logs", pod["metadata"]["name"], f"--namespace={NAMESPACE}", "-c", "copy-models")


def test_nginx_is_the_gateway_before_one_service(site: Site) -> None:
    """By the policy of the component mesh, without a mesh: the Service balances connections."""
    policy = (K8S / "components" / "mesh" / "gateway.toml").read_text(encoding="utf-8")
    with running(site, "gateway-nginx", literals={"contract": {"gateway.toml": policy}}):
        assert {pod["spec"]["containers"][0]["image"].partition("@")[0] for pod in site.pods("gateway")} == {
            "docker.io/ai102/gateway-nginx"
        }
        assert caller_of(site).embed().status == 200
