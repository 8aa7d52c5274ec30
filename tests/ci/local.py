"""A pipeline run by gitlab-ci-local in a repository of its own, with programs that only say how they were called."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PIPELINE = ".gitlab-ci.yml"
LIMIT_S = 120.0
# Of the pipeline's jobs: what changes and cache keys name.
FILES = (
    "models.toml",
    "constraints.txt",
    "pyproject.toml",
    "README.md",
    "tools/ai102/x.py",
    "tools/ai102_runtime/x.py",
)
# Each prints its words, as programs do that say what they do; a secret among them would be in the log.
PROGRAM = """\
#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
echo "called: $(basename "$0") $*" >&2
case "$*" in
    "$FAILS"*) exit "$STATUS" ;;
    "release build"*) echo r-123456789abc ;;
esac
"""
PROGRAMS = (".venv/bin/ai102", ".venv/bin/pytest", ".venv/bin/ruff", ".venv/bin/python", "bin/make")
VARIABLES = ".gitlab-ci-local-variables.yml"


def gitlab_ci_local() -> str:
    """The program; the test skips where it is not."""
    program = shutil.which("gitlab-ci-local")
    if program is None:
        pytest.skip("gitlab-ci-local is not on PATH: npm install gitlab-ci-local@4.61.1, and put it there")
    if shutil.which("rsync") is None:
        pytest.skip("gitlab-ci-local needs rsync: apt-get install rsync")
    return program


@dataclass(frozen=True)
class Done:
    status: int
    text: str
    calls: list[str]  # of the programs, in their order


@dataclass(frozen=True)
class Checkout:
    """On main, one commit before `change`; `folder` is beside its origin."""

    folder: Path

    @classmethod
    def new(cls, folder: Path) -> Checkout:
        origin = folder / "origin"
        origin.mkdir()
        shutil.copy(ROOT / PIPELINE, origin)
        for name in FILES:
            (origin / name).parent.mkdir(parents=True, exist_ok=True)
            (origin / name).write_text("1\n", encoding="utf-8")
        (origin / ".gitignore").write_text("/bin/\n/.venv/\n/calls\n/build/\n", encoding="utf-8")
        _git(origin, "init", "--quiet", "--initial-branch=main")
        _commit(origin)
        _git(folder, "clone", "--quiet", str(origin), "checkout")
        made = cls(folder / "checkout")
        # What it tells a pipeline of its project.
        _git(made.folder, "remote", "add", "gcl-origin", "git@git.example:team/project.git")
        for name in PROGRAMS:
            program = made.folder / name
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text(PROGRAM, encoding="utf-8")
            program.chmod(0o755)
        return made

    def change(self, *names: str) -> None:
        for name in names:
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("2\n", encoding="utf-8")
        _commit(self.folder)

    def branch(self, name: str) -> None:
        _git(self.folder, "checkout", "--quiet", "-b", name)

    def jobs(self, *options: str) -> dict[str, dict[str, Any]]:
        """By name, those that would run or wait for a person."""
        done = self._run("--list-json", *options)
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, Any]] = json.loads(done.stdout[done.stdout.index("[") :])
        return {row["name"]: row for row in rows if row["when"] != "never"}

    def run(self, *options: str, fails: str = "nothing fails", status: int = 1) -> Done:
        done = self._run(*options, FAILS=fails, STATUS=str(status))
        calls = self.folder / "calls"
        return Done(
            done.returncode,
            done.stdout + done.stderr,
            calls.read_text(encoding="utf-8").splitlines() if calls.exists() else [],
        )

    def _run(self, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("GCL_", "CI_"))},
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "CALLS": str(self.folder / "calls"),
            "HOME": str(self.folder.parent),
            "NO_COLOR": "1",
            "FORCE_COLOR": "0",
            **more,
        }
        command = [gitlab_ci_local(), *options]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )


def leaks(logs: Path, secrets: dict[str, str]) -> list[str]:
    """`LOG: NAME` for each log that has a word of a secret's value; words of under 16 characters are none."""
    found = []
    for log in sorted(logs.glob("*.log")):
        text = log.read_text(encoding="utf-8", errors="replace")
        for name, value in secrets.items():
            if any(word in text for word in re.findall(r"[^\s:,\"'{}\[\]]{16,}", value)):
                found.append(f"{log.name}: {name}")
    return found


def _git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=ann", "-c", "user.email=ann@example.com")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, timeout=LIMIT_S)


def _commit(folder: Path) -> None:
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "a change")
