"""The salt of hashes and the keys of sealed marks: from the environment or private files, never in a log."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from ai102.errors import UserError
from ai102.masking.rules import Salt, Seal
from ai102_runtime.seal.private import NotPrivateError, read_private

SALT_BYTES = 16  # at least
KEY_BYTES = 64  # AES-256-SIV
MAX_FILE_BYTES = 4096


def salt(where: Salt, environment: Mapping[str, str] = os.environ) -> bytes:
    """The salt's bytes; UserError when there is none or it is short."""
    text = environment.get(where.variable) or _read(where.file)
    if not text:
        raise UserError(
            f"masking.toml: a rule hashes but there is no salt in {where.variable} or {where.file}; "
            f"make one with `ai102 masking new-key salt`"
        )
    if len(text.encode()) < SALT_BYTES:
        raise UserError(f"the salt of masking is {len(text.encode())} bytes, fewer than {SALT_BYTES}; make another")
    return text.encode()


def key(where: Seal, key_id: str, environment: Mapping[str, str] = os.environ) -> bytes:
    """The key of this id; UserError when there is none or it is not 64 bytes in base64."""
    variable, file = f"{where.variable}_{key_id.upper()}", where.folder / f"{key_id}.key"
    text = environment.get(variable) or _read(file)
    if not text:
        raise UserError(
            f'masking: the key "{key_id}" is neither in {variable} nor in {file}; '
            f"make it with `ai102 masking new-key {key_id}`, or get it from who has it"
        )
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise UserError(f'masking: the key "{key_id}" is not {KEY_BYTES} bytes in base64; make another')
    return secret


def write_new(path: Path, count: int = KEY_BYTES) -> None:
    """A random value of `count` bytes in base64, in a file only its owner reads; UserError when `path` is there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as err:
        raise UserError(
            f"{path} is there already: what was masked with it could not be read again; move it away"
        ) from err
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(base64.b64encode(secrets.token_bytes(count)).decode() + "\n")


def _read(path: Path) -> str:
    """The text of a private file, "" where there is none. Raises UserError."""
    try:
        return read_private(path, MAX_FILE_BYTES).decode("utf-8").strip()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as err:
        raise UserError(f"{path}: not text; make it with `ai102 masking new-key`") from err
    except NotPrivateError as err:
        raise UserError(str(err)) from err
    except OSError as err:
        raise UserError(f"{path}: {err.strerror}: make it with `ai102 masking new-key`") from err
