"""The memory of sealed requests, without which a request could be taken twice: of one host, or of several.

| variable | what it names | who shares it |
|---|---|---|
| AI102_SEAL_SEEN | a folder, made private when missing; default /dev/shm/ai102-seal-UID | the replicas of one host |
| AI102_SEAL_SEEN_SHARED | a folder that all hosts mount; it must exist | every replica that mounts it |

A container has a /dev/shm of its own: replicas in several containers share nothing until they mount one folder. "Taken
once" holds among the replicas that share a memory, and for no others.

- OnThisHost: a SQLite file. After a power failure the last requests may be forgotten (WAL mode without a sync for
  each), on /dev/shm all of them. Not on NFS.
- InSharedFolder: an empty file for each request, if the file system makes a new file for one of several at once only
  (O_EXCL: local ones, NFS since version 3, CephFS, Lustre; not object stores mounted as folders). A request costs a
  round trip to the storage. The hosts' clocks must agree within SPARE_S.

A request is kept under the second it was sealed in, an authenticated time that no replay can change. Seconds that
`open_request` would refuse as too old are forgotten whole; some more are kept, for clocks and processes that stall.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from ai102_runtime.seal.envelope import WINDOW_MS, SealError, Seen
from ai102_runtime.seal.private import NotPrivateError, private_folder

HOST_VARIABLE, SHARED_VARIABLE = "AI102_SEAL_SEEN", "AI102_SEAL_SEEN_SHARED"
DEFAULT_FOLDER = f"/dev/shm/ai102-seal-{os.geteuid()}"
FILE, SHARED_FOLDER = "seen.sqlite", "ai102-seal-seen"
SPARE_S = 60
FILE_BYTES = 256 << 20  # about 4 million requests
PAGE_BYTES = 4096
PAUSE_S = 50e-6  # between two tries for a file that another process writes


def memory_from_environment(environ: Mapping[str, str]) -> Seen:
    """The memory that the environment names, by default that of this host.

    Raises SealError (code memory) with one line that says which place cannot be used, why, and what to do.
    """
    if folder := environ.get(SHARED_VARIABLE):
        return InSharedFolder(Path(folder))
    return OnThisHost(Path(environ.get(HOST_VARIABLE) or DEFAULT_FOLDER))


class OnThisHost:
    """For all processes of one user on a host: a SQLite file in a folder of mode 0700, both made when missing."""

    def __init__(
        self, folder: Path, window_ms: int = WINDOW_MS, max_bytes: int = FILE_BYTES, wait_s: float = 1.0
    ) -> None:
        """Raises SealError (code memory) when the folder or the file cannot be used."""
        self._kept_s = _kept_s(window_ms)
        self._wait_s = wait_s
        self._cleared = 0
        self._lock = threading.Lock()
        file = _private(folder, HOST_VARIABLE) / FILE
        try:
            self._db = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
            self._run("PRAGMA journal_mode = WAL")
            self._run("PRAGMA synchronous = NORMAL")
            self._run(f"PRAGMA max_page_count = {max_bytes // PAGE_BYTES}")
            self._run(
                "CREATE TABLE IF NOT EXISTS seen (second INTEGER, name BLOB, PRIMARY KEY (second, name)) WITHOUT ROWID"
            )
        except sqlite3.Error as err:
            raise SealError("memory", f"{file}: {err}: remove it, or name another folder by {HOST_VARIABLE}") from err

    def is_first(self, key_id: str, nonce: bytes, time_ms: int, now_ms: int) -> bool:
        """Raises SealError (code memory) when the file is full, or busy for longer than `wait_s`."""
        now_s = now_ms // 1000
        try:
            with self._lock:
                if now_s > self._cleared:
                    self._run("DELETE FROM seen WHERE second < ?", now_s - self._kept_s)
                    self._cleared = now_s
                name = nonce + key_id.encode()
                return self._run("INSERT OR IGNORE INTO seen VALUES (?, ?)", time_ms // 1000, name) == 1
        except sqlite3.Error as err:
            raise SealError("memory", f"cannot remember requests: {err}") from err

    def close(self) -> None:
        self._db.close()

    def _run(self, statement: str, *values: object) -> int:
        """The number of rows it changed. SQLite's own waiting sleeps for milliseconds, and does not wait for WAL."""
        deadline = time.monotonic() + self._wait_s
        while True:
            try:
                return self._db.execute(statement, values).rowcount
            except sqlite3.OperationalError as err:
                if err.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(PAUSE_S)


class InSharedFolder:
    """For all hosts that mount a folder: in a private folder in it a file for each request, under its second.

    All replicas must run as one user. The mounted folder is never made here: where a mount is missing, a folder on the
    container's own disk would be shared with nobody.
    """

    def __init__(self, mounted: Path, window_ms: int = WINDOW_MS) -> None:
        """Raises SealError (code memory) when the folder cannot be used."""
        if not mounted.is_dir():
            raise SealError("memory", f"{mounted}: no such folder: mount what {SHARED_VARIABLE} names")
        self._folder = _private(mounted / SHARED_FOLDER, SHARED_VARIABLE)
        self._kept_s = _kept_s(window_ms)
        self._cleared = 0

    def is_first(self, key_id: str, nonce: bytes, time_ms: int, now_ms: int) -> bool:
        """Raises SealError (code memory) when the storage fails."""
        now_s, second = now_ms // 1000, self._folder / str(time_ms // 1000)
        try:
            if now_s > self._cleared + 10:
                self._clear(now_s - self._kept_s)
                self._cleared = now_s
            second.mkdir(mode=0o700, exist_ok=True)  # fails when the mount is gone
            os.close(os.open(second / f"{key_id}.{nonce.hex()}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return False
        except OSError as err:
            raise SealError("memory", f"cannot remember requests: {err}") from err
        return True

    def _clear(self, before: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            for second in self._folder.iterdir():
                if second.name.isdecimal() and int(second.name) < before:
                    shutil.rmtree(second, ignore_errors=True)  # another replica may be at it too


def _private(folder: Path, variable: str) -> Path:
    try:
        return private_folder(folder)
    except FileExistsError:
        reason = f"{folder}: not a folder: remove it"
    except NotPrivateError as err:
        reason = str(err)
    except OSError as err:
        reason = f"{folder}: {err.strerror}"
    raise SealError("memory", f"{reason}; another place can be named by {variable}")


def _kept_s(window_ms: int) -> int:
    return window_ms // 1000 + 1 + SPARE_S
