"""The secret between the gateway and its tritonservers, which their admin APIs ask for."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ai102.errors import UserError
from ai102_runtime.seal.private import NotPrivateError, read_private

MAX_BYTES = 4096


def secret_of(path: Path) -> str:
    """The secret in `path`, written now (mode 0600) when it is missing.

    Raises UserError when it is empty or too short, or when others may read the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    if not path.exists():
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        try:
            os.link(temporary, path)  # two that start at once must agree on one
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    try:
        secret = read_private(path, MAX_BYTES).decode("utf-8", "replace").strip()
    except NotPrivateError as err:
        raise UserError(str(err)) from err
    if len(secret) < 16 or not secret.isprintable() or set(secret) & set(" ,:="):
        raise UserError(f"{path}: not one word of 16 letters or more: remove the file to get a new one")
    return secret
