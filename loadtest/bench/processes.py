"""The processes of a server under test: their cores, memory, signals and end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from ai102.serve.server import Server

# An environment variable that identifies all processes of a server, in every session.
MARK = "BENCH_MARK"
END_TIMEOUT_S = 15.0


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Processes started in the block run on `core`; afterwards this process's threads have this thread's old cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        pin_this_process(before)


@contextlib.contextmanager
def served_on(core: int, server: Server) -> Iterator[Server]:
    """The server on that core; afterwards this process has its cores of before, wherever it was pinned meanwhile."""
    before = os.sched_getaffinity(0)
    with on_core(core):
        server.start()
    try:
        yield server
    finally:
        server.stop()
        pin_this_process(before)


def pin_this_process(cores: set[int]) -> None:
    """Pin every thread, including threads that were started on a server's core."""
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), cores)


def processes_of(pid: int, mark: str = "") -> list[psutil.Process]:
    """The process, its descendants, and other processes with the mark; without this process."""
    by_pid: dict[int, psutil.Process] = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        by_pid |= {process.pid: process for process in (root, *root.children(recursive=True))}
    if mark:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == mark:
                    by_pid[process.pid] = process
    by_pid.pop(os.getpid(), None)
    return list(by_pid.values())


def send_signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def memory_mb(processes: Sequence[psutil.Process]) -> tuple[float, float | None]:
    """Total resident memory, and total proportional set size, which counts shared pages once; None if unknown."""
    rss, pss = 0.0, 0.0
    has_pss = True
    for process in processes:
        try:
            rss += process.memory_info().rss
            pss += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            has_pss = False
    return rss / 1e6, pss / 1e6 if has_pss else None


def end(processes: Sequence[psutil.Process], timeout_s: float = END_TIMEOUT_S) -> None:
    """Terminate the first, which should end the others; after `timeout_s` terminate, then kill, the remaining ones."""
    send_signal(processes, signal.SIGCONT)
    try:
        send_signal(processes[:1], signal.SIGTERM)
        psutil.wait_procs(processes[:1], timeout=timeout_s)
        send_signal([process for process in processes if process.is_running()], signal.SIGTERM)
        psutil.wait_procs(processes, timeout=2.0)
    finally:
        send_signal([process for process in processes if process.is_running()], signal.SIGKILL)
        psutil.wait_procs(processes, timeout=5.0)
