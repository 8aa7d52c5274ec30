"""The generated files of monitoring/: written, or compared with what is committed."""

from __future__ import annotations

from pathlib import Path

from ai102 import contract, generated
from ai102.monitoring.capacity import capacities_of
from ai102.monitoring.constants import rules_text

CONTRACT_RULES = Path("monitoring/rules/contract.yaml")
CAPACITY = Path("loadtest/capacity.json")


def files(home: Path) -> dict[Path, str]:
    """Each generated file by its path, for the models.toml in `home`. Raises UserError."""
    promised = contract.load(home / "models.toml")
    return {home / CONTRACT_RULES: rules_text(promised, capacities_of(promised, home / CAPACITY))}


def write(home: Path) -> list[Path]:
    """Write what differs; gives it."""
    return generated.write(files(home))


def outdated(home: Path) -> list[Path]:
    """The generated files that are not as they should be."""
    return generated.outdated(files(home))
