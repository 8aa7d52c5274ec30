"""Network namespaces by name: which there are, what runs in one, and work done inside one."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from k8s.local.processes import Process, identified

FOLDER = Path("/run/netns")
CLONE_NEWNET = 0x40000000

Result = TypeVar("Result")


def path_of(namespace: str) -> Path:
    return FOLDER / namespace


def exists(namespace: str) -> bool:
    """Whether it is there. A killed `ip netns add` leaves an empty file, which is none."""
    try:
        return path_of(namespace).stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    except FileNotFoundError:
        return False


def entering(namespace: str) -> list[str]:
    """The start of a command line that runs in the namespace, with this machine's files and processes.

    Not `ip netns exec`, which hides /sys/fs/cgroup.
    """
    return ["nsenter", f"--net={path_of(namespace)}", "--"]


def processes_of(namespace: str) -> list[Process]:
    """All processes in the namespace, of any user and any process namespace."""
    if not exists(namespace):
        return []
    running = (identified(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return [process for process in running if process and is_in(process, namespace)]


def is_in(process: Process, namespace: str) -> bool:
    try:
        own, wanted = Path(f"/proc/{process.pid}/ns/net").stat(), path_of(namespace).stat()
    except OSError:  # one of them has gone
        return False
    return (own.st_dev, own.st_ino) == (wanted.st_dev, wanted.st_ino)


def inside(place: Path, work: Callable[[], Result]) -> Result:
    """The result of `work`, whose sockets are those of a network namespace: /run/netns/NAME or /proc/PID/ns/net.

    It runs in a thread of its own, since a thread that has entered another namespace is of no other use.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            _enter(place)
            results.append(work())
        except BaseException as err:  # noqa: BLE001, raised again below
            errors.append(err)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _enter(place: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(handle, CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(place))
    finally:
        os.close(handle)


def command_in(namespace: str, command: Sequence[str]) -> list[str]:
    return [*entering(namespace), *command]
