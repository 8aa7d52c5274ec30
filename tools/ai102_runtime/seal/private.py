"""Files and folders that hold secrets: only their owner may read them. One rule for keys, databases and memories.

The rule: the owner is this user, and group and others have no permission. Or the owner is root, and this user's group
may read: secret stores mount files so.

It needs the standard library alone: it also runs inside tritonserver.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

GROUP_AND_OTHERS = 0o077
ALL_BUT_READING_BY_GROUP = 0o027


class NotPrivateError(Exception):
    """Somebody else may read or write it; one line: which, why, what to do."""


def refuse_shared(path: Path, facts: os.stat_result) -> None:
    """Raise NotPrivateError unless the file or folder with these facts keeps the rule."""
    is_own, mode = facts.st_uid == os.geteuid(), stat.S_IMODE(facts.st_mode)
    if not is_own and facts.st_uid != 0:
        raise NotPrivateError(
            f"{path}: owned by another user ({facts.st_uid}): run `chown {os.geteuid()} {path}`, or name another place"
        )
    if mode & (GROUP_AND_OTHERS if is_own else ALL_BUT_READING_BY_GROUP):
        raise NotPrivateError(
            f"{path}: its mode is {mode:04o}, so others may read or write it: run `chmod go-rwx {path}`"
        )


def refuse_foreign_files(folder: Path) -> None:
    """Raise NotPrivateError where others may put files into `folder`; they may see the names in it.

    A folder in which everybody may write but remove only what is his own (sticky) passes: secret stores mount so.
    """
    mode = folder.stat().st_mode
    if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
        raise NotPrivateError(f"{folder}: others may write in it: run `chmod go-w {folder}`")


def read_private(path: Path, max_bytes: int) -> bytes:
    """At most `max_bytes` from the start of a private file. Raises NotPrivateError and OSError."""
    with path.open("rb") as file:
        refuse_shared(path, os.fstat(file.fileno()))
        return file.read(max_bytes)


def private_folder(path: Path) -> Path:
    """Make the folder (mode 0700), and those above it, where it is missing. Raises NotPrivateError and OSError.

    A link passes when both it and the folder behind it are ours: in /tmp anybody may make a link of any name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    owner = path.lstat().st_uid
    if owner not in (os.geteuid(), 0):
        raise NotPrivateError(f"{path}: owned by another user ({owner}): remove it, or name another place")
    refuse_shared(path, path.stat())
    return path


def private_file(path: Path) -> Path:
    """Make the file, empty and with mode 0600, where it is missing. Raises NotPrivateError and OSError.

    A file that exists is not opened: closing it would end the locks that this process holds on it.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        facts = path.lstat()
        if not stat.S_ISREG(facts.st_mode):
            raise NotPrivateError(f"{path}: not a regular file: move it away") from None
        refuse_shared(path, facts)
    return path
