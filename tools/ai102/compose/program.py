"""Docker Compose: the plugin of Docker, the program docker-compose, or the one in the cache of parts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ai102.errors import UserError
from ai102.images.docker import Docker, complaint_of
from ai102.parts import Cache, program

PART = "docker-compose"


def compose_command(docker: Docker, environ: Mapping[str, str]) -> list[str]:
    """What stands before Compose's own arguments. UserError when there is no Compose of version 2."""
    if docker.succeeds("compose", "version"):
        return [docker.program, "compose"]
    on_path = shutil.which(PART, path=environ.get("PATH"))
    if on_path and _is_new_enough(on_path):
        return [on_path]
    try:
        return [str(program(PART, cache=Cache.of(environ)))]
    except UserError as err:
        raise UserError(
            f"Docker Compose 2 is not installed: `apt-get install docker-compose-plugin` from Docker's packages ({err})"
        ) from err


def compose_output(docker: Docker, root: Path, *arguments: str) -> str:
    """What Compose prints, run in the repository; UserError has its last complaint."""
    command = [*compose_command(docker, os.environ), *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(command)} failed: {complaint_of(done.stderr)}")
    return done.stdout


def _is_new_enough(path: str) -> bool:
    version = subprocess.run([path, "version", "--short"], capture_output=True, text=True, check=False).stdout
    return version.strip().removeprefix("v").startswith(("2.", "3.", "4.", "5."))
