"""Files and folders of the issuer that nobody else may read; what is wrong with one is a UserError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ai102.errors import UserError
from ai102_runtime.seal.private import NotPrivateError, private_file, private_folder, refuse_shared


def folder(path: Path) -> Path:
    """Make the folder (mode 0700) when it is missing; UserError when others may enter it."""
    with _as_user_error():
        try:
            return private_folder(path)
        except FileExistsError as err:
            raise UserError(f"{path}: is a file: name a folder with --home") from err


def check(path: Path) -> None:
    """UserError unless `path` is closed to group and others."""
    with _as_user_error():
        refuse_shared(path, path.stat())


def file(path: Path) -> Path:
    """Make the file, empty and with mode 0600, when it is missing; UserError when others may read it."""
    with _as_user_error():
        return private_file(path)


@contextmanager
def _as_user_error() -> Iterator[None]:
    try:
        yield
    except NotPrivateError as err:
        raise UserError(f"{err}, and replace the secrets that it held") from err
