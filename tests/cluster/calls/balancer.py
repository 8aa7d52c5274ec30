"""The load balancer in front of the cluster, which callers ask: a stand-in for a cloud's, or for MetalLB.

HAProxy outside the cluster sends connections on to nodes whose health port says that a ready gateway runs there, and
closes those to a node that no longer answers.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from ai102.artifact import write_text
from ai102.errors import UserError
from k8s.local import namespaces
from k8s.local.plan import CLIENT, NODES, Plan

ADDRESS = CLIENT.address
REST_PORT, GRPC_PORT = 30480, 30481
# Where kube-proxy of each node says whether gateways run there (healthCheckNodePort of the Service).
HEALTH_PORT = 30482
HEAD = """
global
    maxconn 4096

defaults
    mode tcp
    timeout connect 1s
    timeout client 1h
    timeout server 1h
    option redispatch 1
    option httpchk GET /healthz
    # A node that is gone neither acknowledges what is sent (tcp-ut) nor answers a probe.
    option srvtcpka
    srvtcpka-idle 1s
    srvtcpka-intvl 1s
    srvtcpka-cnt 2
    default-server check port {health_port} inter 500ms fall 2 rise 1
"""


def configuration() -> str:
    text = HEAD.format(health_port=HEALTH_PORT)
    for name, port in (("rest", REST_PORT), ("grpc", GRPC_PORT)):
        text += f"\nlisten {name}\n    bind {ADDRESS}:{port}\n"
        text += "".join(f"    server {node.name} {node.address}:{port} tcp-ut 1500ms\n" for node in NODES)
    return text


@contextmanager
def balancing(plan: Plan) -> Iterator[None]:
    """The load balancer runs in the client's machine. Raises UserError where HAProxy is not installed."""
    haproxy = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if haproxy is None:
        raise UserError("no haproxy: install it (Debian: apt-get install haproxy)")
    file = plan.folder / "balancer.cfg"
    write_text(file, configuration())
    process = subprocess.Popen(namespaces.command_in(plan.namespace(CLIENT), [haproxy, "-db", "-f", str(file)]))
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)
