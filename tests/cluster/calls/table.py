"""The rows of all scenarios as one table, kept in build/cluster-calls so that runs of a few scenarios add up."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from ai102.artifact import write_text
from k8s.local.plan import ROOT
from tests.cluster.calls.record import Row

FOLDER = ROOT / "build" / "cluster-calls"
HEADS = ("scenario", "calls", "failed", "may fail", "slowest", "time to recover", "client's retries")


@dataclass(frozen=True)
class Entry:
    """A row with its place in the table; `client` says through what as well, where it is not the gateway alone."""

    number: int
    client: str
    may_fail: str
    row: Row


def keep(entry: Entry) -> None:
    """Write the row of a scenario, instead of one of an earlier run."""
    write_text(FOLDER / f"{entry.client}-{entry.number:02}.json", json.dumps(asdict(entry), indent=1) + "\n")


def kept(client: str) -> list[Entry]:
    entries = []
    for file in sorted(FOLDER.glob(f"{client}-*.json")):
        values = json.loads(file.read_text(encoding="utf-8"))
        entries.append(Entry(**{**values, "row": Row(**values["row"])}))
    return entries


def text_of(client: str, entries: Sequence[Entry], capacity: float) -> str:
    """A table in Markdown, and below it what failed."""
    lines = [
        f"{client}, {machine()}, {date.today()}; capacity {capacity:.0f} calls/s",
        "",
        f"| {' | '.join(HEADS)} |",
        f"|{'---|' * len(HEADS)}",
    ]
    for entry in entries:
        row = entry.row
        recovery = f"{row.recovery_s:.1f} s" if row.recovery_s else "not disturbed"
        cells = (
            f"{entry.number} {row.scenario}",
            f"{row.calls:,}",
            f"{row.failed:,}",
            entry.may_fail,
            f"{row.slowest_s:.2f} s",
            recovery,
            f"{row.retries:,}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    failures = [
        f"{entry.number}: {count} x {sentence} (the last due {entry.row.last_failure_s:.1f} s after)"
        for entry in entries
        for sentence, count in list(entry.row.failures.items())[:5]
    ]
    return "\n".join([*lines, *(["", *failures] if failures else [])]) + "\n"


def write(client: str, text: str) -> Path:
    path = FOLDER / f"{client}.md"
    write_text(path, text)
    return path


def machine() -> str:
    """The processor and how many there are."""
    names = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    }
    cores = Path("/proc/cpuinfo").read_text(encoding="utf-8").count("processor\t")
    return f"{cores} cores of {' and '.join(sorted(names)) or platform.machine()}"
