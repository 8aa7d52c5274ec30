"""Speak with a running HAProxy over its two Unix sockets: the worker's, and that of the master which reloads."""

from __future__ import annotations

import csv
import io
import os
import socket
import time
from pathlib import Path

from ai102.errors import UserError

ADMIN, MASTER = "admin.sock", "master.sock"
TIMEOUT_S = 10.0


def ask(folder: Path, name: str, line: str) -> str:
    """The answer to one command; UserError when nobody listens."""
    try:
        holder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError as err:
        raise _not_running(folder) from err
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_S)
            # A socket's own path may have 107 bytes; this one is short wherever the folder is.
            connection.connect(f"/proc/self/fd/{holder}/{name}")
            connection.sendall(line.encode() + b"\n")
            if name == MASTER:
                connection.shutdown(socket.SHUT_WR)  # the master waits for more otherwise
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
            return b"".join(parts).decode()
    except (FileNotFoundError, ConnectionRefusedError) as err:
        raise _not_running(folder) from err
    except TimeoutError as err:
        raise UserError(f"HAProxy in {folder} does not answer on {name} within {TIMEOUT_S:g} s") from err
    finally:
        os.close(holder)


def command(folder: Path, line: str) -> None:
    """A command to the worker, which answers only to complain; UserError has its complaint."""
    if complaint := ask(folder, ADMIN, line).strip():
        raise UserError(f"HAProxy did not take `{line}`: {complaint}")


def statistics(folder: Path) -> list[dict[str, str]]:
    """A row for each frontend, backend and server."""
    return list(csv.DictReader(io.StringIO(ask(folder, ADMIN, "show stat").lstrip("# "))))


def servers(folder: Path) -> list[dict[str, str]]:
    """A row for each server of a backend, with its address and host name as they are now; "-" stands for none."""
    _, head, *rows = ask(folder, ADMIN, "show servers state").strip().splitlines()
    names = head.removeprefix("# ").split()
    return [dict(zip(names, row.split(), strict=True)) for row in rows]


def workers(folder: Path, *, is_patient: bool = False) -> set[int]:
    """The processes that take requests now, without those that only finish theirs.

    A master that reloads does not listen for a moment: `is_patient` waits.
    """
    return _workers_in(_processes(folder, is_patient=is_patient).partition("# old workers")[0])


def ask_all(folder: Path, line: str) -> list[str]:
    """The answer of every worker to one command, those too that only finish their requests."""
    pids = _workers_in(_processes(folder, is_patient=True))
    return [ask(folder, MASTER, f"@!{pid} {line}") for pid in sorted(pids)]


def _workers_in(processes: str) -> set[int]:
    return {int(line.split()[0]) for line in processes.splitlines() if line.split()[1:2] == ["worker"]}


def _processes(folder: Path, *, is_patient: bool) -> str:
    ends = time.monotonic() + (TIMEOUT_S if is_patient else 0)
    while True:
        try:
            return ask(folder, MASTER, "show proc")
        except (UserError, ConnectionResetError):
            if time.monotonic() >= ends:
                raise
            time.sleep(0.05)


def _not_running(folder: Path) -> UserError:
    return UserError(f"no HAProxy runs on {folder}: start it with `ai102 gateway run`")
