"""Push to a private registry, by the login of Docker: the models image as it lies on disk, the others by Docker."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import oras.auth.utils
import requests
import requests.auth
from oras.layout.layout import Layout
from oras.provider import Registry

from ai102.errors import UserError
from ai102.images.docker import Docker
from ai102.images.layout import Image

# Where Docker itself looks for a registry's certificate authority.
DOCKER_CERTIFICATES = Path("/etc/docker/certs.d")
TIMEOUT_S = 30.0


def opened_registry(address: str, ca_file: Path | None = None, *, plain_http: bool = False) -> Registry:
    """The registry of `address` (HOST[:PORT][/PATH]), reached, trusted and logged in to.

    Raises UserError when it does not answer, its certificate is not trusted, or it does not take Docker's login.
    """
    host = _host_of(address)
    verify = str(ca) if (ca := ca_file or _docker_ca(host)) else True
    answer = _first_answer(host, verify, plain_http)
    challenge = answer.headers.get("Www-Authenticate", "")
    backend = "basic" if challenge.lower().startswith("basic") else "token"
    registry = Registry(hostname=host, insecure=plain_http, tls_verify=verify, auth_backend=backend)
    registry.session.verify = verify  # for the address that gives tokens, too
    if answer.status_code == requests.codes.ok:
        return registry
    if answer.status_code != requests.codes.unauthorized:
        raise UserError(f"{host}: answers {answer.status_code} instead of speaking the registry's protocol")
    own = Path(os.environ.get("DOCKER_CONFIG", "/nonexistent")) / "config.json"  # oras looks into ~/.docker alone
    configs = [str(own)] if own.is_file() else []
    registry.auth.load_configs(registry.get_container(f"{host}/any:tag"), configs=configs)
    if not getattr(registry.auth, "_basic_auth", None):
        raise UserError(f"{host}: wants a login, and Docker has none for it: docker login {host}")
    if not _is_taken(registry, challenge, answer.url, verify):
        raise UserError(
            f"{host}: does not take the login that Docker has for it (wrong user or password): docker login {host}"
        )
    if backend == "basic":
        registry.session.auth = _Basic(host, registry.auth.get_auth_header()["Authorization"])
    return registry


@dataclass(frozen=True)
class _Basic(requests.auth.AuthBase):
    """The login from the first request on, to the registry alone: one that must ask for it in a large body hangs up."""

    host: str
    header: str

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if urlsplit(request.url or "").netloc == self.host:
            request.headers["Authorization"] = self.header
        return request


def push_layout(registry: Registry, address: str, image: Image) -> str:
    """Push an OCI layout as it is, so that its digest stays; gives its name in the registry, with the digest."""
    target = f"{address}/{image.reference}"
    try:
        Layout(str(image.folder)).push_to_registry(registry, target, image.tag)
    except (ValueError, requests.RequestException) as err:
        raise UserError(f"{target}: cannot be pushed ({_one_line(err)})") from err
    return f"{target}@{image.digest}"


def push_built(docker: Docker, address: str, references: Iterable[str], say: Callable[[str], None]) -> None:
    """Tag what Docker built for the registry, and push it."""
    for reference in references:
        if not docker.image_id(reference):
            raise UserError(f"{reference}: not built yet; run `make image`")
        target = f"{address}/{reference}"
        docker.run("tag", reference, target)
        pushed = docker.run("push", target)
        digest = re.search(r"digest: (sha256:[0-9a-f]{64})", pushed)
        say(f"pushed {target}{'@' + digest[1] if digest else ''}")


def _host_of(address: str) -> str:
    host = address.partition("/")[0]
    if "://" in address or not re.fullmatch(r"[A-Za-z0-9.-]+(:\d+)?", host):
        raise UserError(
            f'"{address}" is no registry: write HOST, HOST:PORT or HOST:PORT/PATH, such as registry.example:5000'
        )
    return host


def _docker_ca(host: str) -> Path | None:
    return next(iter(sorted((DOCKER_CERTIFICATES / host).glob("*.crt"))), None)


def _first_answer(host: str, verify: str | bool, plain_http: bool) -> requests.Response:
    try:
        return requests.get(f"{'http' if plain_http else 'https'}://{host}/v2/", verify=verify, timeout=TIMEOUT_S)
    except requests.exceptions.SSLError as err:
        raise UserError(
            f"{host}: its certificate is not trusted ({_one_line(err)}): name its authority with --ca, "
            f"and put it into {DOCKER_CERTIFICATES / host}/ca.crt for Docker"
        ) from err
    except (requests.RequestException, OSError) as err:
        raise UserError(f"{host}: no registry answers ({_one_line(err)})") from err


def _is_taken(registry: Registry, challenge: str, url: str, verify: str | bool) -> bool:
    """Whether the registry takes the login; asked once, before anything is sent."""
    try:
        if challenge.lower().startswith("basic"):
            # `verify` of a session loses against REQUESTS_CA_BUNDLE.
            headers = registry.auth.get_auth_header()
            answer = registry.session.get(url, headers=headers, timeout=TIMEOUT_S, verify=verify)
            return bool(answer.status_code == requests.codes.ok)
        return bool(registry.auth.request_token(oras.auth.utils.parse_auth_header(challenge)))
    except requests.RequestException as err:
        raise UserError(f"{url}: the login cannot be tried ({_one_line(err)})") from err


def _one_line(err: Exception) -> str:
    """The innermost reason, without addresses of objects."""
    reason: BaseException = err
    while (inner := reason.__cause__ or reason.__context__) is not None:
        reason = inner
    return re.sub(r"<[^>]* object at 0x[0-9a-f]+>:? ?", "", str(reason)).strip().splitlines()[0][:200]
