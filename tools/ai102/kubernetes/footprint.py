"""loadtest/footprint.json: how long one replica takes to start and how much memory it takes, as it was measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ai102.errors import UserError

FILE = Path("loadtest/footprint.json")
NOTE = "Written by `ai102 kubernetes measure`: one replica with every model of the contract."


@dataclass(frozen=True)
class Footprint:
    """One replica on `server_cores` cores. Seconds from the program's start to ready; MiB after the largest batches."""

    server_cores: int
    seconds_to_ready: tuple[float, ...]
    memory_mib: float

    @property
    def slowest_s(self) -> float:
        return max(self.seconds_to_ready)


def load(file: Path) -> Footprint:
    """Raises UserError for a file that `ai102 kubernetes measure` did not write."""
    try:
        row = json.loads(file.read_text(encoding="utf-8"))
        seconds = tuple(float(value) for value in row["seconds_to_ready"])
        footprint = Footprint(int(row["machine"]["server_cores"]), seconds, float(row["memory_mib"]["after_batches"]))
        if not seconds or min(*seconds, footprint.server_cores, footprint.memory_mib) <= 0:
            raise ValueError("a figure is missing or not above 0")
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise UserError(f"{file}: not what `ai102 kubernetes measure` writes ({err}): run it again") from err
    return footprint
