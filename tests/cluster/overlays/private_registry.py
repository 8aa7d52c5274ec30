"""The one registry of a closed network: the cluster's images for who has the login, and every request in its log."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from k8s.local import components
from k8s.local.components import Component
from k8s.local.plan import NODES, REGISTRY, Plan

# The name in the overlay `private`, and where the nodes find it.
HOST = "registry.internal:5000"
ADDRESS = f"{REGISTRY.address}:5001"
NAME = "private-registry"
USER, PASSWORD = "puller", "a-login-of-the-tests"
HTPASSWD = f"{USER}:$2b$05$mjVJYzrJU2No/oIhw4p/Guz/O2Up7ZsdA/nwXTLv85mzG9qWEt3Uq\n"

CONFIGURATION = """\
version: 0.1
log: {{level: info}}
storage:
  filesystem: {{rootdirectory: {folder}/images}}
  maintenance: {{readonly: {{enabled: true}}}}
http:
  addr: {address}
  secret: of-one-registry
  tls: {{certificate: {pki}/registry.crt, key: {pki}/registry.key}}
auth:
  htpasswd: {{realm: private, path: {htpasswd}}}
"""
HOSTS = """\
server = "https://{address}"

[host."https://{address}"]
capabilities = ["pull", "resolve"]
ca = "{ca}"
"""
REQUEST = re.compile(r'^(\S+) - - \[.*?\] "(\S+) /v2/(\S+?)/(manifests|blobs)/(\S+) HTTP/[0-9.]+" (\d+) ', re.M)


@dataclass(frozen=True)
class Request:
    address: str
    repository: str
    status: int


def start(plan: Plan, docker_registry: Path) -> None:
    """Over the files of the cluster's own registry, which stays as it is."""
    folder = plan.folder_of(REGISTRY)
    file, htpasswd = folder / f"{NAME}.yaml", folder / f"{NAME}.htpasswd"
    text = CONFIGURATION.format(folder=folder, address=ADDRESS, pki=plan.pki, htpasswd=htpasswd)
    command = (str(docker_registry), "serve", str(file))
    components.start(plan, Component(NAME, REGISTRY, command, {file: text, htpasswd: HTPASSWD}))
    for node in NODES:
        hosts = plan.folder_of(node) / "etc" / "certs.d" / HOST / "hosts.toml"
        hosts.parent.mkdir(parents=True, exist_ok=True)
        hosts.write_text(HOSTS.format(address=ADDRESS, ca=plan.pki / "ca.crt"), encoding="utf-8")


def requests(plan: Plan) -> list[Request]:
    """What was asked of it for images, so far."""
    log = plan.log(REGISTRY, NAME).read_text(encoding="utf-8", errors="replace")
    return [Request(address, repository, int(status)) for address, _, repository, _, _, status in REQUEST.findall(log)]
