"""Prometheus' and Alertmanager's own checks of monitoring/, and the unit tests of the rules."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from ai102.errors import UserError
from ai102.parts import program

FOLDER = Path("monitoring")


def check(home: Path, say: Callable[[str], None]) -> None:
    """Run every check on `home`/monitoring; `say` gets a line for each. UserError has the words of one that fails."""
    folder = home / FOLDER
    for words in commands(folder):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        shown = " ".join([Path(words[0]).name, *words[1:]]).replace(f"{folder}/", "")
        if done.returncode:
            raise UserError(f"{shown}: exit status {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
        say(f"{shown}: fine")


def commands(folder: Path) -> Iterator[list[str]]:
    """Each check as a command line. Raises UserError when a program is neither in the cache nor on PATH."""
    promtool = checker("prometheus", "promtool")
    rules = sorted(map(str, (folder / "rules").glob("*.yaml")))
    yield [promtool, "check", "config", str(folder / "prometheus" / "prometheus.yaml")]
    yield [promtool, "check", "rules", *rules]
    for file in sorted((folder / "tests").glob("*.yaml")):
        yield [promtool, "test", "rules", str(file)]
    yield [checker("alertmanager", "amtool"), "check-config", str(folder / "alertmanager" / "alertmanager.yaml")]


def checker(part: str, name: str) -> str:
    """The program of a part in the cache, or the one on PATH."""
    try:
        return str(program(part, name))
    except UserError:
        if on_path := shutil.which(name):
            return on_path
        raise
