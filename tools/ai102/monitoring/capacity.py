"""What one replica carries of each pipeline, as `ai102 tune` measured it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ai102.contract import SEALED, Contract
from ai102.contract.goals import goals_of
from ai102.errors import UserError


class Capacity(NamedTuple):
    """Requests per second of one replica within the goal, and how many of them are in flight then."""

    rate: float
    in_flight: float


def capacities_of(contract: Contract, file: Path) -> dict[str, Capacity]:
    """By pipeline; one that was not measured is left out.

    A sealed form has the figures of the pipeline inside it: it carries a little less. Raises UserError for a file that
    `ai102 tune` did not write.
    """
    try:
        models = json.loads(file.read_text(encoding="utf-8"))["models"]
        measured = {
            name: Capacity(float(row["requests_per_second_per_replica"]), _in_flight(row))
            for name, row in models.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise UserError(f"{file}: not what `ai102 tune` writes ({err}); measure each pipeline again") from err
    inside = {name: name if name in contract.ensembles else name.removeprefix(SEALED) for name in goals_of(contract)}
    return {name: measured[form] for name, form in inside.items() if form in measured}


def not_measured(contract: Contract, capacities: Mapping[str, Capacity]) -> list[str]:
    """The contract's ensembles without a capacity: nobody can say how much of it they use."""
    return [name for name in contract.ensembles if name not in capacities]


def _in_flight(row: dict[str, float]) -> float:
    """Little's law: the rate times the usual time, at least one."""
    return max(1.0, row["requests_per_second_per_replica"] * row["p50_ms"] / 1000)
