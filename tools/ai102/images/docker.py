"""The command `docker`: which one, whether its engine answers, and what it says when it fails."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ai102.errors import UserError

FIRST_CLIENT_THAT_WANTS_BUILDX = 23
ANSWER_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Docker:
    """A Docker client whose engine answers; `environment` is given to it beside ours."""

    program: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, stdin: BinaryIO | None = None, timeout_s: float | None = None) -> str:
        """What the command prints; UserError has the engine's last complaint."""
        done = self._done(arguments, stdin=stdin, timeout_s=timeout_s)
        if done.returncode:
            raise UserError(f"docker {arguments[0]} failed: {complaint_of(done.stderr)}")
        return done.stdout.strip()

    def succeeds(self, *arguments: str, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
        """Whether the command ends with status 0 in its time."""
        try:
            return self._done(arguments, timeout_s=timeout_s).returncode == 0
        except UserError:
            return False

    def show(self, *arguments: str) -> None:
        """Run a command whose output the user sees; UserError when it fails."""
        status = subprocess.run([self.program, *arguments], env=self._environment, check=False).returncode
        if status:
            raise UserError(f"docker {arguments[0]} failed with status {status}: its own words are above")

    def popen(self, *arguments: str, stdin: int | None = None) -> subprocess.Popen[bytes]:
        """A command whose standard input or output is a stream."""
        return subprocess.Popen(
            [self.program, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment,
        )

    def image_id(self, reference: str) -> str:
        """The id of an image that the engine has, "" when it has none of that name."""
        done = self._done(("image", "inspect", "--format", "{{.Id}}", reference))
        return done.stdout.strip() if done.returncode == 0 else ""

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "DOCKER_BUILDKIT": "1", **self.environment}

    def _done(
        self, arguments: Sequence[str], *, stdin: BinaryIO | None = None, timeout_s: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [self.program, *arguments],
                stdin=stdin,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout_s,
                env=self._environment,
            )
        except subprocess.TimeoutExpired as err:
            raise UserError(f"docker {arguments[0]} did not end within {err.timeout:g} s") from err


def found_docker(search_path: str | None = None) -> Docker:
    """The first Docker client on PATH that can build, with an engine that answers. UserError says what is missing."""
    candidates = list(_programs("docker", os.environ.get("PATH", "") if search_path is None else search_path))
    if not candidates:
        raise UserError(
            "docker is not installed: `apt-get install docker.io`, or https://docs.docker.com/engine/install"
        )
    docker = Docker(next((program for program in candidates if _can_build(program)), candidates[0]))
    done = subprocess.run(
        [docker.program, "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True
    )
    if done.returncode:
        raise UserError(f"Docker's engine does not answer ({complaint_of(done.stderr)}): start it, or join its group")
    if not _can_build(docker.program):
        raise UserError(f"{docker.program} cannot build, its part buildx is missing: install docker-buildx")
    return docker


def complaint_of(stderr: str) -> str:
    """The last line that says something, without the client's own decoration."""
    lines = [
        line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith(("See 'docker", "---"))
    ]
    return (
        re.sub(r"^(Error response from daemon: |ERROR: |error: )+", "", lines[-1]) if lines else "it does not say why"
    )


def _programs(name: str, search_path: str) -> Iterator[str]:
    for folder in search_path.split(os.pathsep):
        program = Path(folder) / name
        if folder and program.is_file() and os.access(program, os.X_OK):
            yield str(program)


def _can_build(program: str) -> bool:
    """Whether the client builds by BuildKit: older ones do by themselves, newer ones need buildx."""
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    number = re.search(r"version (\d+)", version)
    if number is None or int(number[1]) < FIRST_CLIENT_THAT_WANTS_BUILDX:
        return number is not None
    return subprocess.run([program, "buildx", "version"], capture_output=True, check=False).returncode == 0
