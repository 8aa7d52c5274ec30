"""What can be seen of a mesh from inside its pods: what replicas count, and what sidecars did."""

from __future__ import annotations

import http.client
import re
from pathlib import Path

from k8s.local import api, namespaces
from tests.cluster.asking import pod_network
from tests.cluster.calls.asking import MODEL
from tests.cluster.calls.stack import NAMESPACE, Stack

METRICS_PORT, ENVOY_PORT = 8002, 15000
ANSWER_WITHIN_S = 10.0


def address_of(stack: Stack, pod: str) -> str:
    return str(api.get(stack.plan, f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}")["status"]["podIP"])


def inferences(stack: Stack) -> dict[str, int]:
    """How many calls each replica has answered, as Prometheus sees it from its own pod, by plain HTTP."""
    (prometheus,) = [pod for pod in api.pods(stack.plan, "monitoring") if pod.is_ready]
    network = pod_network(stack.plan, prometheus.name, "monitoring")
    row = re.compile(rf'^nv_inference_request_success{{model="{MODEL}"[^}}]*}} (\d+)', re.M)
    addresses = {pod.name: address_of(stack, pod.name) for pod in stack.ready("triton")}
    texts = {name: text_from(network, address, METRICS_PORT, "/metrics") for name, address in addresses.items()}
    return {name: sum(map(int, row.findall(text))) for name, text in texts.items()}


def handshakes(stack: Stack) -> int:
    """How many connections with mutual TLS the sidecars of the gateways have made to replicas."""
    return _counted(stack, "ssl.handshake")


def retries(stack: Stack) -> int:
    """How often the sidecars of the gateways have sent a call again, to another replica."""
    return _counted(stack, "upstream_rq_retry")


def _counted(stack: Stack, name: str) -> int:
    """Of calls to Triton, by the sidecars of all gateways. The overlay names the counter in statsInclusionRegexps."""
    networks = [pod_network(stack.plan, pod.name, NAMESPACE) for pod in stack.ready("gateway")]
    path = f"/stats?filter=outbound.*triton.*{name}$"
    texts = [text_from(network, "127.0.0.1", ENVOY_PORT, path) for network in networks]
    return sum(int(number) for text in texts for number in re.findall(rf"{re.escape(name)}: (\d+)", text))


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
