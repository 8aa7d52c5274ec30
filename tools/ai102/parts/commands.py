"""Runs the programs that fetch and build: output to a log, each line to whoever counts progress."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ai102.errors import UserError
from ai102.host.child import Child

GRACE_S = 5


class CommandError(UserError):
    """A program ended with an error; `lines` is what it printed."""

    def __init__(self, message: str, lines: Sequence[str]) -> None:
        super().__init__(message)
        self.lines = lines


def run(
    command: Sequence[str | Path],
    log: Path,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] = lambda line: None,
    reason: Callable[[Sequence[str]], str] = lambda lines: lines[-1],
) -> list[str]:
    """What the program printed, by line; it ends with all that it started when this process does.

    It runs in `folder`. `reason` picks the line for the error out of those that are not blank. Raises CommandError.
    """
    words = [str(word) for word in command]
    lines: list[str] = []
    child = Child(
        ["env", f"--chdir={folder}", *words] if folder else words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        grace_s=GRACE_S,
        environment=environment,
    )
    assert child.stdout is not None
    log.parent.mkdir(parents=True, exist_ok=True)
    status = None
    try:
        with log.open("a", encoding="utf-8") as file, child.stdout:
            file.write(f"$ {' '.join(words)}\n")
            for raw in child.stdout:
                line = raw.decode(errors="replace").rstrip()
                file.write(f"{line}\n")
                lines.append(line)
                on_line(line)
        status = child.wait(GRACE_S)
    finally:
        child.kill()
        child.reap()
    if status != 0:
        printed = [line for line in lines if line]
        why = reason(printed) if printed else f"exit status {child.status}"
        raise CommandError(f"`{_short(words)}` failed: {why} (log: {log})", printed)
    return lines


def _short(words: Sequence[str]) -> str:
    """The program and its first word that is no option."""
    verbs = [word for word in words[1:] if not word.startswith("-") and "/" not in word and "=" not in word]
    return " ".join([Path(words[0]).name, *verbs[:1]])
