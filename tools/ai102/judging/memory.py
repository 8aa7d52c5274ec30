"""How much memory a server has in use, read from its processes or from its metrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ai102.errors import UserError
from ai102.prometheus.exposition import Scrape, scraped
from ai102.prometheus.fetching import NoAnswerError

# Bytes in use; None where it cannot be read now.
ReadMemory = Callable[[], float | None]
PAGE_KB = 1024
# The metrics that say it, the best one first: of the container, of the process, of the whole machine.
METRICS = (
    "container_memory_working_set_bytes",
    "process_resident_memory_bytes",
    "nv_cpu_memory_used_bytes",
)
TIMEOUT_S = 5.0


def reader_of(source: str) -> ReadMemory:
    """From "pid:1234", a process of this machine with all that it started, or the URL of metrics.

    Raises UserError where there is no such process, or the URL does not answer with one of METRICS.
    """
    if source.startswith("pid:"):
        if not source[4:].isdecimal() or not Path(f"/proc/{source[4:]}").is_dir():
            raise UserError(f'--metrics is "{source}", but no such process runs here')
        return of_process(int(source[4:]))
    url = source if source.rstrip("/").endswith("/metrics") else f"{source.rstrip('/')}/metrics"
    if not any(scraped(url, TIMEOUT_S).of(name) for name in METRICS):
        raise UserError(f"{url}: has none of {', '.join(METRICS)}: leave --metrics out, or name pid:NUMBER")

    def read() -> float | None:
        try:
            return bytes_of(scraped(url, TIMEOUT_S))
        except NoAnswerError:
            return None

    return read


def bytes_of(scrape: Scrape) -> float | None:
    """The memory in use that a scrape tells; None where it does not."""
    for name in METRICS:
        if samples := scrape.of(name):
            return sum(sample.value for sample in samples)
    return None


def of_process(pid: int) -> ReadMemory:
    """The memory of a process and of all that it started: shared pages count once (PSS)."""

    def read() -> float | None:
        sizes = [size for member in _family(pid) if (size := _bytes(member)) is not None]
        return sum(sizes) if sizes else None

    return read


def _family(pid: int) -> list[int]:
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                status = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:  # it has just ended
                continue
            parents[int(folder.name)] = int(status.rpartition(")")[2].split()[1])
    family = [pid]
    for member in family:
        family.extend(child for child, parent in parents.items() if parent == member)
    return family


def _bytes(pid: int) -> float | None:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:  # it has just ended
        return None
    return sum(PAGE_KB * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
