"""The policy as a whole nginx configuration, and the commands to a running nginx: reload, drain, undrain, states."""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from ai102.errors import UserError
from ai102.gateway.policy import Gateway
from ai102.gateway.rendering import check_lua, lua_of, places_of, program_at, rendered, services_of
from ai102.gateway.replica_state import ReplicaState, check_name

MODULES = Path("/usr/lib/nginx/modules")
FOLDER = Path("build/gateway/nginx")
# Of a path of a unix socket, with the zero at its end.
MAX_SOCKET_PATH = 107
# In nginx's quoted strings these end the string, start a variable or an escape.
STRANGE = frozenset('"$\\;{}\n')


def files(gateway: Gateway, home: Path) -> dict[Path, str]:
    """Every file of the configuration, by its absolute path; `home` is the folder of gateway.toml.

    Replicas named by host are looked up now, as nginx does: after their addresses change, render and reload.
    Raises UserError for a name that has no address, and for replicas and a path that nginx cannot express.
    """
    if gateway.triton.dns is not None:
        raise UserError(
            'gateway.toml: triton.discovery is "dns", which needs HAProxy: nginx 1.22 reads no SRV records while it '
            'runs; run the gateway with --proxy haproxy, or write "static" or "mesh"'
        )
    folder = _folder(home)
    texts = lua_of("nginx", folder)
    texts[folder / "settings.json"] = json.dumps(_settings(gateway, home), indent=1) + "\n"
    texts[folder / "nginx.conf"] = _conf(gateway, home)
    return texts


def command(home: Path) -> list[str]:
    """What starts nginx in the foreground on the files rendered for `home`; UserError when it is not installed."""
    program = check_installed()
    folder = _folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # it holds the socket that drains
    remove_stale_socket(folder / "admin.sock")
    # Started by root, its workers would be somebody else, who may not read the state and the secret.
    user = " user root;" if os.geteuid() == 0 else ""
    return [program, "-p", f"{folder}/", "-c", str(folder / "nginx.conf"), "-g", f"daemon off;{user}"]


def check_installed() -> str:
    """nginx's path; UserError names the packages that are missing."""
    program = program_at("nginx", "nginx-light libnginx-mod-http-lua")
    if not (MODULES / "ngx_http_lua_module.so").exists():
        raise UserError("nginx has no Lua, which the gateway is written in: apt-get install libnginx-mod-http-lua")
    check_lua("5.1")
    return program


def reload(home: Path) -> None:
    """Let the running nginx take the rendered files; requests in flight finish. UserError when none runs."""
    pid_file = _folder(home) / "nginx.pid"
    try:
        os.kill(int(pid_file.read_text(encoding="utf-8")), signal.SIGHUP)
    except (FileNotFoundError, ValueError, ProcessLookupError) as err:
        raise UserError(f"no nginx runs on {pid_file.parent}: start it with `ai102 gateway run --proxy nginx`") from err


def drain(gateway: Gateway, home: Path, name: str) -> None:
    """From now on the replica gets no new request; those it has finish. UserError for a name that is none."""
    check_name(gateway, name)
    _ask(home, "POST", f"/drain/{name}")


def undrain(gateway: Gateway, home: Path, name: str) -> None:
    """The replica gets requests again. UserError for a name that is none."""
    check_name(gateway, name)
    _ask(home, "POST", f"/undrain/{name}")


def states(gateway: Gateway, home: Path) -> list[ReplicaState]:
    """Every replica as the running nginx sees it."""
    return [ReplicaState(**row) for row in _ask(home, "GET", "/")]


def in_flight(home: Path) -> Counter[str]:
    """How many inferences with each model are under way."""
    return Counter(_ask(home, "GET", "/in_flight"))


def _conf(gateway: Gateway, home: Path) -> str:
    client_ca = gateway.tls.client_ca
    return rendered(
        "nginx.conf.j2",
        {},
        modules=MODULES,
        listen=gateway.listen,
        mesh=_mesh_names(gateway),
        limits=gateway.limits,
        services=services_of(gateway),
        socket=_nginx_path(_socket(home)),
        certificate=_nginx_path(home / gateway.tls.certificate),
        client_ca=_nginx_path(home / client_ca) if client_ca else "",
    )


def _mesh_names(gateway: Gateway) -> dict[str, str]:
    """A mesh knows its Services by the name that a call asks for; empty without a mesh."""
    mesh = gateway.triton.mesh
    return {protocol: place.rpartition(":")[0] for protocol, place in (mesh.model_dump() if mesh else {}).items()}


def _settings(gateway: Gateway, home: Path) -> dict[str, Any]:
    """What the Lua of nginx needs to know."""
    limits = gateway.limits
    return places_of(gateway, home) | {
        "balance": gateway.triton.balance,
        "is_checked": gateway.triton.mesh is None,
        "replicas": [
            {
                "name": replica.name,
                "weight": replica.weight,
                "http": _host_and_port(f"replica {replica.name}: http", replica.http),
                "grpc": _host_and_port(f"replica {replica.name}: grpc", replica.grpc),
            }
            for replica in gateway.triton.servers
        ],
        "services": {name: name for name in services_of(gateway)},
        "requests_per_10s": limits.requests_per_10s,
        "auth_requests_per_10s": limits.auth_requests_per_10s,
        "max_body_bytes": limits.max_body_bytes,
        "max_json_bytes": limits.max_json_bytes,
        "max_elements": limits.max_elements,
        "is_traced": bool(gateway.traces.collector),
        "sampled_per_million": gateway.traces.sampled_per_million,
        "asked_per_10s": gateway.traces.asked_per_10s,
    }


def _host_and_port(where: str, address: str) -> dict[str, str | int]:
    """An address with its host as a number, as nginx's Lua wants it; an IPv6 one keeps its brackets."""
    host, _, port = address.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        try:
            host = socket.gethostbyname(host)
        except OSError as err:
            raise UserError(f"{where} is {address}, and {host} has no IPv4 address ({err}): write one") from err
    return {"host": host, "port": int(port)}


def _folder(home: Path) -> Path:
    return home.absolute() / FOLDER


def _socket(home: Path) -> Path:
    path = _folder(home) / "admin.sock"
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise UserError(
            f"{path} is longer than the {MAX_SOCKET_PATH} bytes a socket's path may have: use a shorter one"
        )
    return path


def _nginx_path(path: Path) -> str:
    text = str(path.absolute())
    if strange := sorted(STRANGE.intersection(text)):
        raise UserError(f"{text}: a path with {strange[0]!r} cannot stand in nginx.conf; rename it")
    return text


def remove_stale_socket(path: Path) -> None:
    """nginx does not start when the socket of one that was killed is still there."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            path.unlink(missing_ok=True)


def _ask(home: Path, method: str, path: str) -> Any:
    place = _socket(home)
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(place)), timeout=5) as client:
            return client.request(method, f"http://nginx{path}").raise_for_status().json()
    except httpx.TransportError as err:
        raise UserError(
            f"no nginx answers on {place} ({err}): start it with `ai102 gateway run --proxy nginx`"
        ) from err
