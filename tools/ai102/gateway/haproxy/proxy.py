"""The policy as a whole HAProxy configuration, and commands to a running HAProxy: reload, drain, undrain, states."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ai102.errors import UserError
from ai102.gateway.discovery import ASK_EVERY_S, OBSOLETE_AFTER_S
from ai102.gateway.haproxy import sockets
from ai102.gateway.haproxy.discovered import states_from_servers
from ai102.gateway.haproxy.grpc_check import IS_READY, SERVER_READY
from ai102.gateway.policy import Gateway
from ai102.gateway.rendering import check_lua, lua_of, places_of, program_at, rendered, services_of
from ai102.gateway.replica_state import ReplicaState, check_name

FOLDER = Path("build/gateway/haproxy")
BACKENDS = ("triton_http", "triton_http_long", "triton_grpc", "triton_grpc_long")
RELOAD_TIMEOUT_S = 20.0
# A row of the stick table of that name.
IN_FLIGHT = re.compile(r"key=(\S+) .*conn_cur=(\d+)")
# Of a long body, what is looked at before all of it has come.
HEAD_BYTES = 8192
# What stays free in a full buffer for the headers that the gateway adds: x-user-may-infer has up to 4 kB.
REWRITE_BYTES = 8 << 10
# How long a replica's host may be silent.
HOST_GONE_S = 2
# What HAProxy answers by itself: HTTP status, gRPC status, sentence, after how many seconds to ask again.
ERRORS = (
    (400, 3, "The request is malformed.", None),
    (408, 3, "The request came too slowly.", None),
    (413, 8, "The request is larger than allowed.", None),
    (500, 14, "The service is not available; try again later.", 1),
    (502, 14, "The service is not available; try again later.", 1),
    (503, 14, "The service is not available; try again later.", 1),
    (504, 4, "The answer took too long.", None),
)


def files(gateway: Gateway, home: Path) -> dict[Path, str]:
    """Every file of the configuration, by its absolute path; `home` is the folder of gateway.toml."""
    folder = folder_of(home)
    texts = lua_of("haproxy", folder)
    texts[folder / "settings.json"] = json.dumps(_settings(gateway, home), indent=1) + "\n"
    texts[folder / "haproxy.cfg"] = _cfg(gateway, home)
    return texts


def command(home: Path) -> list[str]:
    """What starts HAProxy in the foreground on the files rendered for `home`; UserError when it is not installed."""
    program = check_installed()
    folder = folder_of(home)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # it holds the sockets that drain and reload
    (folder / "servers.state").write_text("1\n", encoding="utf-8")  # forget the run before
    return [program, "-W", "-db", "-C", str(folder), "-S", f"unix@{sockets.MASTER}", "-f", "haproxy.cfg"]


def checking_command(home: Path) -> list[str]:
    """What says whether HAProxy would take the rendered files; UserError when it is not installed."""
    return [check_installed(), "-c", "-C", str(folder_of(home)), "-f", "haproxy.cfg"]


def check_installed() -> str:
    """HAProxy's path; UserError names the packages that are missing."""
    program = program_at("haproxy", "haproxy")
    check_lua("5.[34]")
    return program


def reload(home: Path) -> None:
    """Let the running HAProxy take the rendered files; requests in flight finish, drained replicas stay drained.

    Raises UserError when none runs, or the new configuration does not start: the old one then goes on.
    """
    folder = folder_of(home)
    # The file is read at the start of the new worker.
    (folder / "servers.state").write_text(sockets.ask(folder, sockets.ADMIN, "show servers state"), encoding="utf-8")
    before = sockets.workers(folder)
    sockets.ask(folder, sockets.MASTER, "reload")
    ends = time.monotonic() + RELOAD_TIMEOUT_S
    while time.monotonic() < ends:
        if sockets.workers(folder, is_patient=True) - before:
            return
        time.sleep(0.05)
    raise UserError(f"HAProxy did not take {folder / 'haproxy.cfg'}; the old configuration goes on; its log says why")


def drain(gateway: Gateway, home: Path, name: str) -> None:
    """From now on the replica gets no new request; those it has finish. UserError for a name that is none."""
    check_name(gateway, name)
    for backend in BACKENDS:
        sockets.command(folder_of(home), f"set server {backend}/{name} state drain")


def undrain(gateway: Gateway, home: Path, name: str) -> None:
    """The replica gets requests again. UserError for a name that is none."""
    check_name(gateway, name)
    for backend in BACKENDS:
        sockets.command(folder_of(home), f"set server {backend}/{name} state ready")


def states(gateway: Gateway, home: Path) -> list[ReplicaState]:
    """Every replica as the running HAProxy sees it; those that DNS tells are named by their addresses."""
    rows = [row for row in sockets.statistics(folder_of(home)) if row["pxname"] in BACKENDS]
    if gateway.triton.dns is not None:
        return states_from_servers(sockets.servers(folder_of(home)), rows, BACKENDS)
    states = []
    for replica in gateway.triton.servers:
        own = [row for row in rows if row["svname"] == replica.name]
        if own:
            health = next(row["status"] for row in own if row["pxname"] == BACKENDS[0])
            states.append(
                ReplicaState(
                    replica.name,
                    is_up=health.startswith(("UP", "DRAIN", "no check")),
                    is_drained=any(row["status"].startswith("DRAIN") for row in own),
                    busy=sum(int(row["scur"]) for row in own),
                )
            )
    return states


def in_flight(home: Path) -> Counter[str]:
    """How many inferences with each model are under way, those too that a process of before a reload finishes."""
    counts = Counter[str]()
    for table in sockets.ask_all(folder_of(home), "show table in_flight"):
        for model, count in IN_FLIGHT.findall(table):
            counts[model] += int(count)
    return counts


def folder_of(home: Path) -> Path:
    """Where the configuration for this home lies."""
    return home.absolute() / FOLDER


def _cfg(gateway: Gateway, home: Path) -> str:
    return rendered(
        "haproxy.cfg.j2",
        {"word": _word},
        folder=str(folder_of(home)),
        buffer_bytes=_buffer_bytes(gateway),
        rewrite_bytes=REWRITE_BYTES,
        head_bytes=HEAD_BYTES,
        host_gone_s=HOST_GONE_S,
        limits=gateway.limits,
        listen=gateway.listen,
        tls=_tls(gateway, home),
        balance=gateway.triton.balance,
        discovery=gateway.triton.discovery,
        replicas=gateway.triton.servers,
        dns=gateway.triton.dns,
        ask_every_s=ASK_EVERY_S,
        obsolete_after_s=OBSOLETE_AFTER_S,
        grpc_question=SERVER_READY.hex(),
        grpc_answer=IS_READY.hex(),
        services=services_of(gateway),
        errors=ERRORS,
        traces=gateway.traces,
        sampled_per_million=gateway.traces.sampled_per_million,
    )


def _buffer_bytes(gateway: Gateway) -> int:
    """Headers and JSON, with space for what HAProxy keeps beside them and for the headers it adds."""
    bytes_needed = gateway.limits.max_json_bytes + gateway.limits.max_header_bytes + (32 << 10)
    return -(-bytes_needed // (16 << 10)) * (16 << 10)


def _tls(gateway: Gateway, home: Path) -> str:
    words = f"ssl crt {_word(str((home / gateway.tls.certificate).absolute()))}"
    if gateway.tls.client_ca:
        words += f" verify required ca-file {_word(str((home / gateway.tls.client_ca).absolute()))}"
    return words


def _settings(gateway: Gateway, home: Path) -> dict[str, Any]:
    """What the Lua of HAProxy needs to know."""
    return places_of(gateway, home) | {
        "limits": gateway.limits.model_dump(mode="json"),
        "is_traced": bool(gateway.traces.collector),
    }


def _word(text: str) -> str:
    """One word of HAProxy's language, whatever it has in it; UserError for a line break."""
    if not text.isprintable():
        raise UserError(f"{text!r} cannot stand in haproxy.cfg; rename it")
    return '"' + re.sub(r'(["\\$])', r"\\\1", text) + '"'
