"""Processes by number and start time, so that a signal never reaches another one that was given the number later."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

# Fields of /proc/PID/stat after the name, which may hold blanks and parentheses.
STATE, STARTED = 0, 19


@dataclass(frozen=True)
class Process:
    pid: int
    started: int  # clock ticks after the start of the machine
    boot: str  # which start of the machine


def identified(pid: int) -> Process | None:
    """The process that has this number now; None when there is none or it has ended."""
    fields = _stat(pid)
    if fields[STATE] in "ZX":
        return None
    return Process(pid, int(fields[STARTED]), _boot())


def is_running(process: Process | None) -> bool:
    return process is not None and identified(process.pid) == process


def is_stopped(process: Process) -> bool:
    """Whether it was stopped by a signal and has not ended."""
    return is_running(process) and _stat(process.pid)[STATE] in "Tt"


def children_of(process: Process) -> list[Process]:
    """The direct children that run."""
    try:
        text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [child for pid in text.split() if (child := identified(int(pid)))]


def send(process: Process, number: signal.Signals) -> bool:
    """Send a signal; False when the process has ended."""
    with _handle(process) as handle:
        if handle is None:
            return False
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
        return True


def wait_for_end(processes: Iterable[Process], within_s: float) -> list[Process]:
    """Wait until all have ended; gives those that have not."""
    ends = time.monotonic() + within_s
    return [process for process in processes if not _ends(process, ends - time.monotonic())]


def end(processes: Iterable[Process], within_s: float) -> list[Process]:
    """TERM, and KILL for those that are left after `within_s`; gives those that even then run."""
    running = [process for process in processes if send(process, signal.SIGTERM)]
    left = wait_for_end(running, within_s)
    for process in left:
        send(process, signal.SIGKILL)
    return wait_for_end(left, within_s)


def _ends(process: Process, within_s: float) -> bool:
    with _handle(process) as handle:
        if handle is None:
            return True
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(max(0.0, within_s) * 1000))


@contextmanager
def _handle(process: Process) -> Iterator[int | None]:
    """A file descriptor of just this process; None when it has ended."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield handle if is_running(process) else None
    finally:
        os.close(handle)


def _stat(pid: int) -> list[str]:
    """The fields after the name; those of a process that has ended when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ["X"]
    return stat.rpartition(")")[2].split()


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
