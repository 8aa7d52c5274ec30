"""The JSON files of all dashboards, written or compared."""

from __future__ import annotations

from pathlib import Path

from ai102.artifact import write_text
from ai102.dashboards import capacity, gateway, jobs, one_model, overview
from ai102.dashboards.layout import text_from_board

FOLDER = Path("monitoring/dashboards")
MODULES = {"overview": overview, "model": one_model, "gateway": gateway, "capacity": capacity, "jobs": jobs}


def texts() -> dict[str, str]:
    """{name of the file: its content}."""
    return {
        f"{name}.json": text_from_board(module.board(), f"tools/{module.__name__.replace('.', '/')}.py")
        for name, module in MODULES.items()
    }


def write(folder: Path) -> list[Path]:
    """Write every dashboard into `folder`; gives the files, changed or not."""
    for name, text in texts().items():
        write_text(folder / name, text)
    return [folder / name for name in texts()]


def stale(folder: Path) -> list[str]:
    """One line for each file of `folder` that is not what its functions make, or that none of them makes."""
    made = texts()
    problems = []
    for name, text in made.items():
        path = folder / name
        if not path.exists():
            problems.append(f"{path} is missing")
        elif path.read_text(encoding="utf-8") != text:
            problems.append(f"{path} differs from what its functions make")
    problems += [f"{path} is made by no function" for path in sorted(folder.glob("*.json")) if path.name not in made]
    return problems
