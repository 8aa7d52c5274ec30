"""Docker Compose: the plugin of Docker, the program docker-compose, or the one in the cache of parts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ai102.errors import UserError
from ai102.images.docker import Docker, complaint_of

PROGRAM = "docker-compose"


def compose_command(docker: Docker, environ: Mapping[str, str]) -> list[str]:
    """What stands before Compose's own arguments. UserError when there is no Compose of version 2."""
    if docker.succeeds("compose", "version"):
        return [docker.program, "compose"]
    for program in filter(None, (shutil.which(PROGRAM, path=environ.get("PATH")), *_cached(environ))):
        version = subprocess.run([program, "version", "--short"], capture_output=True, text=True, check=False).stdout
        if version.strip().removeprefix("v").startswith(("2.", "3.", "4.", "5.")):
            return [program]
    raise UserError(
        "Docker Compose 2 is not installed: `apt-get install docker-compose-plugin` from Docker's packages, "
        "or `ai102 parts fetch docker-compose`"
    )


def compose_output(docker: Docker, root: Path, *arguments: str) -> str:
    """What Compose prints, run in the repository; UserError has its last complaint."""
    command = [*compose_command(docker, os.environ), *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(command)} failed: {complaint_of(done.stderr)}")
    return done.stdout


def _cached(environ: Mapping[str, str]) -> list[str]:
    cache = Path(environ.get("AI102_CACHE") or Path.home() / ".cache" / "ai102")
    return [str(path) for path in sorted(cache.glob(f"parts/{PROGRAM}-*/**/{PROGRAM}")) if os.access(path, os.X_OK)]
