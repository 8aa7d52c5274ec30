"""Processes of a server under test: on which core they run, what memory they hold, how they rest and how they end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

# Whatever a server starts, in whatever session, carries this variable with our value.
MARK = "BENCH_MARK"
END_TIMEOUT_S = 15.0


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """What starts within runs on `core`; threads of this process are put back to where this thread was."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        pin_this_process(before)


def pin_this_process(cores: set[int]) -> None:
    """Every thread: a thread that was started on a server's core would stay there."""
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), cores)


def processes_of(pid: int, mark: str = "") -> list[psutil.Process]:
    """The process, its descendants, and whatever else carries the mark; without this process."""
    found: dict[int, psutil.Process] = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        found |= {process.pid: process for process in (root, *root.children(recursive=True))}
    if mark:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == mark:
                    found[process.pid] = process
    found.pop(os.getpid(), None)
    return list(found.values())


def send_signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def memory_mb(processes: Sequence[psutil.Process]) -> tuple[float, float | None]:
    """Resident memory of all, and their proportional share of it, which counts shared pages once."""
    rss, pss = 0.0, 0.0
    can_tell = True
    for process in processes:
        try:
            rss += process.memory_info().rss
            pss += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            can_tell = False
    return rss / 1e6, pss / 1e6 if can_tell else None


def end(processes: Sequence[psutil.Process], timeout_s: float = END_TIMEOUT_S) -> None:
    """The first is asked to end the others in order; after `timeout_s` all that is left is killed."""
    send_signal(processes, signal.SIGCONT)
    try:
        send_signal(processes[:1], signal.SIGTERM)
        psutil.wait_procs(processes[:1], timeout=timeout_s)
        send_signal([process for process in processes if process.is_running()], signal.SIGTERM)
        psutil.wait_procs(processes, timeout=2.0)
    finally:
        send_signal([process for process in processes if process.is_running()], signal.SIGKILL)
        psutil.wait_procs(processes, timeout=5.0)
