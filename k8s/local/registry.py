"""The registry that nodes pull from: with TLS, on a machine of its own, filled from OCI layouts."""

from __future__ import annotations

from collections.abc import Iterable

import requests

from ai102.errors import UserError
from ai102.images.layout import Image
from k8s.local import namespaces
from k8s.local.components import Component
from k8s.local.plan import CLIENT, REGISTRY, REGISTRY_ADDRESS, Plan
from k8s.local.programs import Programs

TIMEOUT_S = 10.0
# The registry that an image without one is of, and what its short names leave out.
DEFAULT_REGISTRY = "docker.io"

CONFIGURATION = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {folder}/images}}
  delete: {{enabled: true}}
http:
  addr: {address}
  secret: of-one-registry
  tls: {{certificate: {pki}/registry.crt, key: {pki}/registry.key}}
"""


def registry(plan: Plan, programs: Programs) -> Component:
    file = plan.folder_of(REGISTRY) / "registry.yaml"
    text = CONFIGURATION.format(folder=plan.folder_of(REGISTRY), address=REGISTRY_ADDRESS, pki=plan.pki)
    return Component("registry", REGISTRY, (str(programs.docker_registry), "serve", str(file)), {file: text})


def answers(plan: Plan) -> bool:
    return _inside(plan, "/v2/") is not None


def push(plan: Plan, images: Iterable[Image]) -> list[str]:
    """Push the images that it has not; gives their names with digests, as pods write them. Raises UserError."""
    return [_pushed(plan, image) for image in images]


def name_of(image: Image) -> str:
    """The image by its digest, as a pod writes it: nodes find it in the registry whatever host it names."""
    return f"{DEFAULT_REGISTRY}/{image.reference.rpartition(':')[0]}@{image.digest}"


def _pushed(plan: Plan, image: Image) -> str:
    repository = image.reference.rpartition(":")[0]
    answer = _inside(plan, f"/v2/{repository}/manifests/{image.tag}")
    if answer is None:
        raise UserError(f"the registry at {REGISTRY_ADDRESS} does not answer")
    if answer.headers.get("Docker-Content-Digest") != image.digest:
        # Here, since it takes seconds to import, which every command for the cluster would wait for.
        from ai102.images.registry import opened_registry, push_layout

        def send() -> None:
            address = opened_registry(REGISTRY_ADDRESS, plan.pki / "ca.crt")
            push_layout(address, REGISTRY_ADDRESS, image)

        namespaces.inside(namespaces.path_of(plan.namespace(CLIENT)), send)
    return name_of(image)


def _inside(plan: Plan, path: str) -> requests.Response | None:
    """What the registry answers to HEAD, asked from the client's machine; None when it does not answer."""

    def ask() -> requests.Response | None:
        types = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
        with requests.Session() as session:
            session.trust_env = False  # a proxy of the outside does not know the address
            try:
                url = f"https://{REGISTRY_ADDRESS}{path}"
                return session.head(url, headers=types, verify=str(plan.pki / "ca.crt"), timeout=TIMEOUT_S)
            except (requests.ConnectionError, requests.Timeout):
                return None

    return namespaces.inside(namespaces.path_of(plan.namespace(CLIENT)), ask)
