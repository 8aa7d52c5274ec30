"""The results of trials: kept one by one, so that a run goes on where it stopped, and the table of all."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ai102.artifact import write_text
from k8s.local.plan import ROOT
from tests.cluster.releases.trial import Trial
from tests.cluster.releases.ways import ALL_AT_ONCE, ERROR_RATE, OURS, WAYS

FILE = ROOT / "loadtest" / "results" / "releases.json"
HALF_PERCENT = 50.0


@dataclass
class Results:
    """Trials by release and way; `machines` are where and when they ran."""

    file: Path
    machines: list[dict[str, str]] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)

    @classmethod
    def kept(cls, file: Path) -> Results:
        """Those of the file; none where there is no file."""
        if not file.exists():
            return cls(file)
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return cls(file, document["machines"], [Trial(**row) for row in document["trials"]])

    def add(self, trial: Trial) -> None:
        """Keep it in place of an older one of the same release and way."""
        self.trials = [each for each in self.trials if (each.release, each.way) != (trial.release, trial.way)]
        self.trials.append(trial)
        document = {"machines": self.machines, "trials": [asdict(each) for each in self.trials]}
        write_text(self.file, json.dumps(document, indent=1) + "\n")

    def of(self, release: str, way: str) -> Trial | None:
        return next((each for each in self.trials if (each.release, each.way) == (release, way)), None)


@dataclass(frozen=True)
class Sum:
    """All trials of one way, of releases that were tried in every way."""

    way: str
    bad: int
    calls: int
    harmed: int
    stopped: int  # bad ones that were stopped before half of the calls were theirs
    median_stop_s: float | None
    good: int
    false_stops: int
    harmed_by_good: int


def sums(results: Results, bad: Sequence[str], good: Sequence[str]) -> list[Sum]:
    return [_sum(results, way, _complete(results, bad), _complete(results, good)) for way in WAYS]


def table(results: Results, bad: Sequence[str], good: Sequence[str]) -> str:
    """Markdown: the sums, and a line for each release."""
    heads = ("", "harmed calls", "bad ones stopped before half of the calls", "time to stop", "good ones stopped")
    rows = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    by_way = {one.way: one for one in sums(results, bad, good)}
    all_at_once = by_way[ALL_AT_ONCE]
    for one in by_way.values():
        fewer = 100 * (1 - one.harmed / all_at_once.harmed) if all_at_once.harmed else 0.0
        less = f" ({fewer:.1f} % fewer)" if one.way != ALL_AT_ONCE else ""
        stop = f"{one.median_stop_s:.0f} s" if one.median_stop_s is not None else "never"
        rows.append(
            f"| {one.way} | {one.harmed:,} of {one.calls:,}{less} | {one.stopped} of {one.bad} | {stop} "
            f"| {one.false_stops} of {one.good} |"
        )
    ours, ordinary = by_way[OURS], by_way[ERROR_RATE]
    if ordinary.harmed:
        rows += [
            "",
            f"Ours against {ERROR_RATE}: {100 * (1 - ours.harmed / ordinary.harmed):.1f} % fewer harmed calls.",
        ]
    rows += ["", "| release | " + " | ".join(WAYS) + " |", "|---|" + "---|" * len(WAYS)]
    for kind, names in (("bad", bad), ("good", good)):
        for name in names:
            cells = [_cell(results.of(name, way)) for way in WAYS]
            if any(cells):
                rows.append(f"| {kind}: {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def _complete(results: Results, names: Sequence[str]) -> list[str]:
    return [name for name in names if all(results.of(name, way) for way in WAYS)]


def _sum(results: Results, way: str, bad: Sequence[str], good: Sequence[str]) -> Sum:
    of_bad, of_good = ([trial for name in names if (trial := results.of(name, way))] for names in (bad, good))
    stops = [trial.stopped_s for trial in of_bad if trial.stopped_s is not None]
    return Sum(
        way=way,
        bad=len(of_bad),
        calls=sum(trial.calls for trial in of_bad),
        harmed=sum(trial.harmed for trial in of_bad),
        stopped=sum(trial.stopped_s is not None and trial.most_percent < HALF_PERCENT for trial in of_bad),
        median_stop_s=statistics.median(stops) if stops else None,
        good=len(of_good),
        false_stops=sum(trial.stopped_s is not None for trial in of_good),
        harmed_by_good=sum(trial.harmed for trial in of_good),
    )


def _cell(trial: Trial | None) -> str:
    return "" if trial is None else f"{trial.harmed:,}, {trial.verdict}"
