"""The generated files of monitoring/: written, or compared with what is committed."""

from __future__ import annotations

from pathlib import Path

from ai102 import contract
from ai102.artifact import write_text
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
    changed = outdated(home)
    texts = files(home)
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, texts[path])
    return changed


def outdated(home: Path) -> list[Path]:
    """The generated files that are not as they should be."""
    return [path for path, text in files(home).items() if not path.exists() or path.read_text("utf-8") != text]
