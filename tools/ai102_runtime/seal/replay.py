"""Which sealed requests came before: for one process, for all replicas of one host, or for several hosts.

A request is kept under the second it was sealed in, an authenticated time that no replay can change. Seconds that
`open_request` would refuse as too old are forgotten whole; some more are kept, for clocks and processes that stall.

What holds where:
- InMemory: this process alone. Another replica, or this one after a restart, would take the request again.
- OnThisHost: every process of the host that opens the same file, restarts included. After a power failure the last
  requests may be forgotten (the file is in WAL mode without a sync for each), on /dev/shm all of them. Not on NFS.
- InFolder: every host that mounts the folder, if its file system makes a new file for one of several at once only
  (O_EXCL: local ones, NFS since version 3, CephFS, Lustre; not object stores mounted as folders). A request costs
  a round trip to the storage. The hosts' clocks must agree within SPARE_S.
Anything else that adds a key if it is absent, in one step and for all (Redis `SET key "" NX PX ms`), is one class
with `is_first`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import threading
import time
from pathlib import Path

from ai102_runtime.seal.envelope import WINDOW_MS, SealError

SPARE_S = 60
MEMORY_ENTRIES = 1 << 20
FILE_BYTES = 256 << 20  # about 4 million requests
PAGE_BYTES = 4096
PAUSE_S = 50e-6  # between two tries for a file that another process writes


class InMemory:
    """For one process; `capacity` requests at most.

    When more come within the window, the oldest are forgotten and everything sealed as early as they were is
    refused from then on: a flood costs late callers their request and never lets a replay through.
    """

    def __init__(self, window_ms: int = WINDOW_MS, capacity: int = MEMORY_ENTRIES) -> None:
        self._kept_s = _kept_s(window_ms)
        self._capacity = capacity
        self._seconds: dict[int, set[bytes]] = {}
        self._number = 0
        self._cleared = 0
        self._forgotten = -1  # the latest second that was forgotten for want of room
        self._lock = threading.Lock()

    def is_first(self, key_id: str, nonce: bytes, time_ms: int, now_ms: int) -> bool:
        """False for a request that was here before, or that was sealed in a second no longer remembered."""
        now_s, second, name = now_ms // 1000, time_ms // 1000, nonce + key_id.encode()
        with self._lock:
            if now_s > self._cleared:
                for old in [old for old in self._seconds if old < now_s - self._kept_s]:
                    self._number -= len(self._seconds.pop(old))
                self._cleared = now_s
            if second <= self._forgotten:
                raise SealError("memory", f"over {self._capacity} requests within the window: it came too late")
            names = self._seconds.setdefault(second, set())
            if name in names:
                return False
            names.add(name)
            self._number += 1
            while self._number > self._capacity:
                self._forgotten = min(self._seconds)
                self._number -= len(self._seconds.pop(self._forgotten))
            return True


class OnThisHost:
    """For all processes of a host: a SQLite file, made when missing, private to its user."""

    def __init__(
        self, file: Path, window_ms: int = WINDOW_MS, max_bytes: int = FILE_BYTES, wait_s: float = 1.0
    ) -> None:
        """Raises SealError (code memory) when the file cannot be used."""
        self._kept_s = _kept_s(window_ms)
        self._wait_s = wait_s
        self._cleared = 0
        self._lock = threading.Lock()
        try:
            _refuse_others(file)
            self._db = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
            self._run("PRAGMA journal_mode = WAL")
            self._run("PRAGMA synchronous = NORMAL")
            self._run(f"PRAGMA max_page_count = {max_bytes // PAGE_BYTES}")
            self._run(
                "CREATE TABLE IF NOT EXISTS seen (second INTEGER, name BLOB, PRIMARY KEY (second, name)) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as err:
            raise SealError("memory", f"{file}: {err}") from err

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


class InFolder:
    """For all hosts that share a folder: an empty file for each request, in a folder for each second."""

    def __init__(self, folder: Path, window_ms: int = WINDOW_MS) -> None:
        self._folder = folder
        self._kept_s = _kept_s(window_ms)
        self._cleared = 0

    def is_first(self, key_id: str, nonce: bytes, time_ms: int, now_ms: int) -> bool:
        """Raises SealError (code memory) when the storage fails."""
        now_s, second = now_ms // 1000, self._folder / str(time_ms // 1000)
        try:
            if now_s > self._cleared + 10:
                self._clear(now_s - self._kept_s)
                self._cleared = now_s
            second.mkdir(mode=0o700, parents=True, exist_ok=True)
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


def _refuse_others(file: Path) -> None:
    """Make `file` if need be; OSError when another user could change it."""
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        facts = file.lstat()  # not opened: closing it would end the locks that this process has on it
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
            raise PermissionError(f"not a private file: chmod 600 {file}, and let {os.geteuid()} own it") from None


def _kept_s(window_ms: int) -> int:
    return window_ms // 1000 + 1 + SPARE_S
