"""A replica that fails: whoever connects to it, or is connected, gets a reset; its processes run on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from k8s.local import namespaces
from k8s.local.plan import Plan
from tests.cluster.asking import pod_network
from tests.cluster.calls.stack import NAMESPACE

# Where the sidecar takes what is sent to the pod (15006), its probes (15020, 15021), and tritonserver's own ports.
RULES = """
table inet refusing {
    chain input {
        type filter hook input priority 0
        tcp dport {8000, 8001, 8002, 15006, 15020, 15021} reject with tcp reset
    }
}
"""


@contextmanager
def refusing(plan: Plan, pods: list[str]) -> Iterator[None]:
    """Until the end of the block, or of the pods."""
    with ExitStack() as stack:
        for pod in pods:
            network = pod_network(plan, pod, NAMESPACE)
            namespaces.inside(network, lambda: _nft("-f", "-", text=RULES))
            stack.callback(namespaces.inside, network, lambda: _nft("delete", "table", "inet", "refusing", check=False))
        yield


def _nft(*arguments: str, text: str = "", check: bool = True) -> None:
    subprocess.run(["nft", *arguments], input=text, text=True, check=check, capture_output=True, timeout=10)
