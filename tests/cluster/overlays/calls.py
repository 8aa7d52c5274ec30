"""A caller outside of the nodes: a token of the issuer, and questions to the gateway with its certificate checked."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from k8s.local import namespaces
from tests.cluster.asking import pod_network
from tests.cluster.overlays.site import NAMESPACE, Site

USER, ROLE = "ann", "caller"
# One of the names in the certificate; what is connected to is an address.
NAME = "gateway"
REST = 8080
TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    serial: str  # of the certificate


@dataclass(frozen=True)
class Caller:
    """`token` may be empty: a caller who has none."""

    site: Site
    token: str = ""

    def embed(self, text: str = "A man is eating.", **more: Any) -> Answer:
        """By the friendly API: gateway, API, gateway, replica."""
        return self.ask("/v1/embed", {"texts": [text]}, **more)

    def ask(
        self, path: str, body: object, headers: dict[str, str] | None = None, address: str = "", port: int = REST
    ) -> Answer:
        """POST to a gateway: any, unless an address is given. OSError where nobody answers."""
        place = address or self.site.pods("gateway")[0]["status"]["podIP"]
        sent = {"Content-Type": "application/json"} | (headers or {})
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        ca = self.site.secrets / "certs" / "ca.pem"
        return namespaces.inside(self.site.client, lambda: _post(place, port, path, json.dumps(body), sent, ca))


def caller_of(site: Site) -> Caller:
    """With a token of a user that is added now."""
    auth = ("python3", "-m", "ai102", "auth")
    issuer = ("exec", "--stdin", f"--namespace={NAMESPACE}", "deploy/issuer", "--")
    site.run(*issuer, *auth, "user", "add", USER, "--role", ROLE, text=f"{secrets.token_urlsafe(24)}\n")
    return Caller(site, site.run(*issuer, *auth, "token", USER).strip())


def asked(site: Site, pod: str, port: int, path: str) -> Any:
    """JSON that a pod answers to itself; None while it does not."""

    def ask() -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return json.loads(response.read()) if response.status == http.client.OK else None
        except OSError:
            return None
        finally:
            connection.close()

    return namespaces.inside(pod_network(site.plan, pod, NAMESPACE), ask)


def _post(address: str, port: int, path: str, body: str, headers: dict[str, str], ca: Path) -> Answer:
    context = ssl.create_default_context(cafile=ca)
    with (
        socket.create_connection((address, port), timeout=TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as secure,
    ):
        certificate = secure.getpeercert()
        assert certificate is not None
        connection = http.client.HTTPSConnection(address, port)
        connection.sock = secure
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        content = response.read()
        is_json = (response.getheader("Content-Type") or "").startswith("application/json")
        return Answer(response.status, json.loads(content) if is_json else content, str(certificate["serialNumber"]))
