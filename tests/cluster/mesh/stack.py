"""Overlay dev with the component mesh on the cluster: installed, asked over a kept channel, and what its pods count."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ai102.errors import UserError
from ai102.images.docker import found_docker
from ai102.images.dockerfiles import RECIPES, reference_of
from ai102.images.labels import version_of
from ai102.images.models import write_models_image
from ai102.kubernetes import secrets
from k8s.local import api, loading, namespaces, registry
from k8s.local.plan import CLIENT, NODES, ROOT, Plan
from k8s.local.waiting import until
from tests.cluster.asking import pod_network
from tests.cluster.mesh.kept_channel import MODEL, Order, Outcome

NAMESPACE = "ai102"
OVERLAY = Path(__file__).parent / "overlay"
IMAGES = ("server", "gateway", "api")
GRPC_PORT, REST_PORT, METRICS_PORT, ENVOY_PORT = 30481, 30480, 8002, 15000
USER, PASSWORD = "caller", "a long password"
AUTH = ("python3", "-m", "ai102", "auth")
READY_WITHIN_S = 300.0
END_WITHIN_S = 60.0
ANSWER_WITHIN_S = 5.0


@dataclass(frozen=True)
class Stack:
    plan: Plan
    kubectl_program: Path

    @property
    def secrets(self) -> Path:
        return self.plan.folder / "secrets"

    @property
    def ca_file(self) -> Path:
        return self.secrets / "certs" / "ca.pem"

    @property
    def host(self) -> str:
        """Any node: the gateway has ports there."""
        return NODES[0].address

    def kubectl(self, *arguments: str, text: str = "") -> str:
        """What kubectl prints. Raises UserError."""
        return api.kubectl(self.plan, self.kubectl_program, *arguments, "--namespace", NAMESPACE, text=text)

    def install(self) -> None:
        """Load the images, apply everything, and wait until it is ready. Raises UserError."""
        loading.load(self.plan, references(), lambda _: None)
        self._release_models()
        self.kubectl("create", "namespace", NAMESPACE)
        secrets.make(self.secrets, tuple(node.address for node in NODES))
        api.apply(self.plan, self.kubectl_program, secrets.manifests(self.secrets, NAMESPACE))
        loading.apply(self.plan, self.kubectl_program, OVERLAY)
        until(self.is_ready, "every pod of ai102 is ready and none is ending", READY_WITHIN_S)
        self.kubectl("exec", "-i", "deploy/issuer", "--", *AUTH, "user", "add", USER, "--role", "caller", text=PASSWORD)

    def _release_models(self) -> None:
        """An image with the one model that is asked: a replica with a quarter of a processor starts sooner."""
        repository = self.plan.folder / "models"
        shutil.rmtree(repository, ignore_errors=True)
        shutil.copytree(ROOT / "model_repository" / MODEL, repository / MODEL)
        image, _ = write_models_image(repository, self.plan.folder / "models-image", version="1")
        loading.remember(self.plan, {"ai102/models": registry.push(self.plan, [image])[0]})

    def is_ready(self) -> bool:
        pods = api.pods(self.plan, NAMESPACE)
        return bool(pods) and all(pod.is_ready and not pod.is_over for pod in pods) and self.is_rolled_out()

    def is_rolled_out(self) -> bool:
        return api.is_rolled_out(self.plan, NAMESPACE)

    def token(self) -> str:
        return self.kubectl("exec", "deploy/issuer", "--", *AUTH, "token", USER).strip()

    def order(self, *, count: int = 0, every_s: float = 0.0) -> Order:
        return Order(f"{self.host}:{GRPC_PORT}", str(self.ca_file), self.token(), count, every_s)

    def pods(self, name: str) -> list[api.Pod]:
        """The pods of a Deployment that are not over."""
        own = re.compile(rf"{name}-[0-9a-f]+-[0-9a-z]{{5}}")
        return [pod for pod in api.pods(self.plan, NAMESPACE) if own.fullmatch(pod.name) and not pod.is_over]

    def address_of(self, pod: str) -> str:
        return str(api.get(self.plan, f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}")["status"]["podIP"])

    def inferences(self) -> dict[str, int]:
        """How many each replica has answered, as Prometheus sees it from its own pod, by plain HTTP."""
        (prometheus,) = [pod for pod in api.pods(self.plan, "monitoring") if pod.is_ready]
        network = pod_network(self.plan, prometheus.name, "monitoring")
        texts = {
            pod.name: text_from(network, self.address_of(pod.name), METRICS_PORT, "/metrics")
            for pod in self.pods("triton")
        }
        row = re.compile(rf'^nv_inference_request_success{{model="{MODEL}",[^}}]*}} (\d+)', re.M)
        return {name: sum(map(int, row.findall(text))) for name, text in texts.items()}

    def handshakes(self) -> int:
        """How many connections with mutual TLS the sidecars of the gateways have made to replicas."""
        networks = [pod_network(self.plan, pod.name, NAMESPACE) for pod in self.pods("gateway")]
        path = "/stats?filter=outbound.*triton.*ssl.handshake"
        texts = [text_from(network, "127.0.0.1", ENVOY_PORT, path) for network in networks]
        return sum(int(number) for text in texts for number in re.findall(r"ssl\.handshake: (\d+)", text))


def text_from(network: Path, address: str, port: int, path: str) -> str:
    """The body of an answer to GET."""

    def ask() -> str:
        connection = http.client.HTTPConnection(address, port, timeout=ANSWER_WITHIN_S)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    return namespaces.inside(network, ask)


class KeptChannel:
    """A load that runs in the client's machine, on one channel."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def end(self) -> Outcome:
        """What became of its calls. Raises UserError when it failed."""
        output, _ = self._process.communicate(timeout=END_WITHIN_S)
        return self._outcome(output)

    def outcome(self, within_s: float) -> Outcome:
        """The same once it has made all its calls."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.wait(within_s)
        return self._outcome(self._process.stdout.read())

    def _outcome(self, output: str) -> Outcome:
        if self._process.returncode:
            raise UserError(f"the load has ended with {self._process.returncode}")
        return Outcome(**json.loads(output))


@contextmanager
def kept_channel(plan: Plan, order: Order) -> Iterator[KeptChannel]:
    """A load whose channel has been answered once; ended with the block. Raises UserError when it does not start."""
    command = [sys.executable, "-m", "tests.cluster.mesh.kept_channel"]
    process = subprocess.Popen(
        namespaces.command_in(plan.namespace(CLIENT), command),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(asdict(order)) + "\n")
        process.stdin.flush()
        if process.stdout.readline() != "ready\n":
            raise UserError(f"the load does not start: it has ended with {process.wait(END_WITHIN_S)}")
        yield KeptChannel(process)
    finally:
        process.kill()
        process.wait()


def references() -> list[str]:
    return [reference_of(RECIPES[name], version_of(ROOT)) for name in IMAGES]


def missing_images() -> list[str]:
    """Images of ours that Docker has not. Raises UserError when there is no Docker."""
    docker = found_docker()
    return [reference for reference in references() if not docker.image_id(reference)]
