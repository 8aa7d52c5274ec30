"""The overlay `private` with all its pods: nothing without the login of the one registry, and nothing from elsewhere.

Fluent Bit is a stand-in (images.py).
"""

import secrets
import shutil
from collections.abc import Iterator

import pytest

from k8s.local import machines
from k8s.local.plan import NODES
from k8s.local.programs import Programs
from k8s.local.waiting import until
from tests.cluster.conftest import note, seconds_until
from tests.cluster.overlays import eyes, private_registry, volumes
from tests.cluster.overlays.calls import Caller, caller_of
from tests.cluster.overlays.site import LOGS, NAMESPACE, Site

SEEN_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def private(watched: Site, programs: Programs) -> Iterator[Site]:
    """Applied, without the login."""
    site = watched
    for node in NODES:
        shutil.rmtree(machines.var_of(site.plan, node) / "lib" / "ai102", ignore_errors=True)
    private_registry.start(site.plan, programs.docker_registry)
    volumes.make(site)
    site.make_namespace()
    site.apply("private")
    yield site
    site.clear()


@pytest.fixture(scope="module")
def caller(private: Site) -> Caller:
    return caller_of(private)


def complaints(site: Site) -> dict[str, str]:
    """What keeps each container from starting, by pod and container."""
    rows = {}
    for namespace in (NAMESPACE, LOGS):
        for pod in site.items("pods", namespace):
            for status in pod["status"].get("containerStatuses", []):
                waiting = status["state"].get("waiting", {})
                rows[f"{pod['metadata']['name']}/{status['name']}"] = waiting.get("message", "")
    return rows


def test_no_image_is_pulled_without_the_login(private: Site) -> None:
    def all_are_refused() -> bool:
        rows = complaints(private)
        return len(rows) > 10 and all("401" in text or "no basic auth credentials" in text for text in rows.values())

    until(all_are_refused, "every container waits for a login", SEEN_WITHIN_S)
    assert {request.status for request in private_registry.requests(private.plan)} == {401}


def test_with_the_login_every_pod_gets_ready(private: Site) -> None:
    login = (f"--docker-server={private_registry.HOST}", f"--docker-username={private_registry.USER}",
             f"--docker-password={private_registry.PASSWORD}")  # fmt: skip
    for namespace in (NAMESPACE, LOGS):
        private.run("create", "secret", "docker-registry", "registry", *login, f"--namespace={namespace}")
    # A kubelet that was refused waits longer each time: what waits is made anew, as a second `apply` would not do.
    for namespace in (NAMESPACE, LOGS):
        private.run("delete", "pods", "--all", f"--namespace={namespace}", "--grace-period=1", "--wait=false")
    waited_s = seconds_until(lambda: not private.unfinished(), "every pod is ready", 300)
    note(f"{waited_s:5.1f} s  private: from the login to all pods ready, on nodes without the images")


def test_every_image_came_from_the_one_registry(private: Site) -> None:
    asked = private_registry.requests(private.plan)
    pods = [pod for namespace in (NAMESPACE, LOGS) for pod in private.items("pods", namespace)]
    images = {container["image"] for pod in pods for container in pod["spec"]["containers"]}
    images |= {volume["image"]["reference"] for pod in pods for volume in pod["spec"]["volumes"] if "image" in volume}
    repositories = {image.removeprefix(f"{private_registry.HOST}/").partition("@")[0] for image in images}
    assert all(image.startswith(f"{private_registry.HOST}/") for image in images)
    assert len(repositories) == 9
    assert {request.repository for request in asked if request.status == 200} == repositories
    assert {request.address for request in asked if request.status == 200} == {node.address for node in NODES}


def test_a_caller_is_answered_with_a_token_and_refused_without(private: Site, caller: Caller) -> None:
    assert (caller.embed().status, Caller(private).embed().status) == (200, 401)


def test_prometheus_reaches_everybody_and_evaluates_every_rule(private: Site) -> None:
    until(lambda: eyes.targets(private) == eyes.wanted_targets(private), "every target is up", SEEN_WITHIN_S)
    until(lambda: eyes.ailing_rules(private) is not None, "every rule is evaluated", 2 * SEEN_WITHIN_S)
    assert eyes.ailing_rules(private) == []


def test_a_call_is_one_trace_over_gateway_api_and_triton(private: Site, caller: Caller) -> None:
    trace = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
    assert caller.embed(headers=headers).status == 200
    until(lambda: eyes.services_of(private, trace) == {"gateway", "api", "triton"}, "the trace is whole", SEEN_WITHIN_S)


def test_logs_are_masked_on_every_node_and_no_token_is_in_them(private: Site, caller: Caller) -> None:
    name = f"asked-{secrets.token_hex(4)}"
    assert caller.embed(headers={"X-Request-Id": name}).status == 200
    until(
        lambda: {row["service"]["name"] for row in eyes.documents(private.plan) if name in str(row)} >= {"gateway"},
        "the call is in the masked logs",
        SEEN_WITHIN_S,
    )
    text = " ".join(map(str, eyes.documents(private.plan)))
    assert caller.token not in text
