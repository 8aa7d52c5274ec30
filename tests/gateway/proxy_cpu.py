"""How much CPU a proxy has used, all its processes and threads together."""

import time
from pathlib import Path


def processes_of(pid: int) -> list[int]:
    """The process and all that it started, and so on."""
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text(encoding="utf-8").split()
    ]
    return [pid, *(one for child in children for one in processes_of(child))]


def cpu_ms(pids: list[int]) -> float:
    """What they have used by now."""
    return sum(_cpu_ms_of_threads(pids))


def busiest_thread_ms(pids: list[int]) -> float:
    """What the one of their threads has used by now that has used most."""
    return max(_cpu_ms_of_threads(pids))


def _cpu_ms_of_threads(pids: list[int]) -> list[float]:
    """/proc/PID/stat has the same in ticks of 10 ms; schedstat has nanoseconds."""
    return [
        int((task / "schedstat").read_text(encoding="utf-8").split()[0]) / 1e6
        for pid in pids
        for task in Path(f"/proc/{pid}/task").iterdir()
    ]


def settled_cpu_ms(pids: list[int], within_s: float = 10.0) -> float:
    """What they have used when they rest: after a request, before the next health check or soon after it."""
    ends, before = time.monotonic() + within_s, -1.0
    while (now := cpu_ms(pids)) != before:
        assert time.monotonic() < ends, f"the proxy still works after {within_s:g} s"
        before = now
        time.sleep(0.01)
    return now
