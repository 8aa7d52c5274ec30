"""Folders and files that nobody else may read: made so from the start, refused when found otherwise."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ai102.errors import UserError


def folder(path: Path) -> Path:
    """Make the folder (mode 0700) when it is missing; UserError when others may enter it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError as err:
        raise UserError(f"{path}: is a file; a folder was wanted: name another with --home") from err
    check(path)
    return path


def check(path: Path) -> None:
    """UserError unless `path` is closed to group and others."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise UserError(
            f"{path}: its mode is {mode:04o}, so others may read secrets: run `chmod go-rwx {path}` "
            "and think of what it held as known"
        )


def file(path: Path) -> Path:
    """Make the file, empty and with mode 0600, when it is missing; UserError when others may read it."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except IsADirectoryError as err:
        raise UserError(f"{path}: is a folder; a file was wanted: move it away") from err
    check(path)
    return path
