"""The command `tritonserver` of the environment: the real server, with a backend for ONNX models."""

import os
import sys
from collections.abc import Mapping, Sequence

from ai102.errors import UserError
from ai102.serve.backend_directory import backend_directory_for
from ai102.serve.installation import Installation, installed_tritonserver, server_environment


def main() -> None:
    """Become the real tritonserver, every argument passed through; exit 2 with one line if there is none."""
    try:
        installation = installed_tritonserver()
        environment = server_environment(installation, os.environ)
        arguments = [*sys.argv[1:], *default_arguments(installation, sys.argv[1:], os.environ)]
        try:
            os.execve(installation.binary, [str(installation.binary), *arguments], environment)
        except OSError as err:
            raise UserError(f"cannot run {installation.binary}: {err.strerror}") from err
    except UserError as err:
        sys.stderr.write(f"tritonserver: {err}\n")
        sys.exit(err.exit_status)


def default_arguments(installation: Installation, given: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """The arguments that a server outside NVIDIA's folder needs and the user did not give."""
    defaults = []
    if not _has(given, "--backend-directory"):
        backends = backend_directory_for(installation, environ)
        defaults += [] if backends is None else [f"--backend-directory={backends}"]
    if installation.is_from_pip and not _has(given, "--cache-directory"):
        defaults.append(f"--cache-directory={installation.root / 'caches'}")
    return defaults


def _has(given: Sequence[str], option: str) -> bool:
    return any(argument == option or argument.startswith(f"{option}=") for argument in given)
