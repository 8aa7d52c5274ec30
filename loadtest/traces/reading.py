"""A trace of real traffic: calls a second in equal steps, from a CSV file with a column of times and one of load."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ai102.errors import UserError

FOLDER = Path(__file__).parent
# A folder with more of them.
VARIABLE = "TRACES"
# Of a column with calls a step; any other has calls a second.
COUNT = "count"


@dataclass(frozen=True)
class Trace:
    """Calls a second, a value a step; None where nothing was recorded."""

    name: str
    step_s: float
    rates: tuple[float | None, ...]

    @property
    def length_s(self) -> float:
        return self.step_s * len(self.rates)

    @property
    def peak(self) -> float:
        return max((rate for rate in self.rates if rate is not None), default=0.0)

    def between(self, start_s: float, end_s: float) -> Trace:
        """The steps that begin in that time. Raises UserError when there is none."""
        rates = tuple(rate for at, rate in enumerate(self.rates) if start_s <= at * self.step_s < end_s)
        if not rates:
            raise UserError(f"{self.name}: lasts {self.length_s / 3600:g} h, nothing is from {start_s / 3600:g} h on")
        return Trace(self.name, self.step_s, rates)


def trace_named(name: str, environment: Mapping[str, str]) -> Trace:
    """A path, or the name of a file in this folder or in the folder that the variable TRACES names, without `.csv`.

    Raises UserError when there is none, or when its form is another.
    """
    folders = [FOLDER, *([Path(environment[VARIABLE])] if environment.get(VARIABLE) else [])]
    candidates = [Path(name), *(folder / f"{name}.csv" for folder in folders)]
    for file in candidates:
        if file.is_file():
            return read(file)
    known = sorted(file.stem for file in FOLDER.glob("*.csv"))
    raise UserError(
        f"there is no trace {name}: give a file, or one of {', '.join(known)}, or set {VARIABLE} to a folder with it"
    )


def read(file: Path) -> Trace:
    """The trace of a file. Raises UserError that names the row that is wrong."""
    try:
        with file.open(encoding="utf-8", newline="") as text:
            header, *rows = list(csv.reader(text)) or [[]]
    except (OSError, UnicodeDecodeError) as err:
        raise UserError(f"{file}: cannot be read as CSV ({err})") from err
    if len(header) < 2 or len(rows) < 2:
        raise UserError(f"{file}: wanted a header, a column of times, a column of load and at least two rows")
    times, loads = [], []
    for number, row in enumerate(rows, start=2):
        try:
            times.append(_seconds(row[0]))
            loads.append(float(row[1]) if row[1] else None)
        except (ValueError, IndexError) as err:
            raise UserError(f"{file}: line {number} is {','.join(row)!r}: wanted a time and a number") from err
    step_s = times[1] - times[0]
    _check_steps(file, times, step_s)
    divisor = step_s if header[1] == COUNT else 1.0
    return Trace(file.stem, step_s, tuple(None if load is None else load / divisor for load in loads))


def _check_steps(file: Path, times: Sequence[float], step_s: float) -> None:
    for number, (before, after) in enumerate(itertools.pairwise(times), start=3):
        if after - before != step_s or step_s <= 0:
            raise UserError(f"{file}: line {number} is {after - before:g} s after the one before, the first {step_s:g}")


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        # Without a zone; only differences count.
        return (datetime.fromisoformat(text) - datetime(1970, 1, 1)).total_seconds()
