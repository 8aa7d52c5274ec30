"""The databases that a ledger may live in: SQLite, and a real PostgreSQL where it is installed."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import free_port

INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
IN_TIME_S = "60"


class PostgreSQL:
    """A server of its own in a temporary folder, reached by TCP on 127.0.0.1."""

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self.folder = folder
        self._fsync = "on" if fsync else "off"
        self._bin = INSTALLED[-1].parent
        # PostgreSQL refuses to run as root.
        self._user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        if self._user:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        self.port = free_port()
        self._run("initdb", "-D", f"{folder}/data", "-U", "ai102", "-A", "trust", "--no-sync")
        self.start()
        self._run("createdb", *self._server, "jobs")

    @property
    def _server(self) -> tuple[str, ...]:
        return ("-h", "127.0.0.1", "-p", str(self.port), "-U", "ai102")

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://ai102@127.0.0.1:{self.port}/jobs"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        options += f" -c fsync={self._fsync}"
        log = f"{self.folder}/log"
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-t", IN_TIME_S, "-l", log, "-o", options, "start")

    def restart(self) -> None:
        """Also of one that is not running."""
        if (self.folder / "data" / "postmaster.pid").exists():
            self.stop()
        self.start()

    def kill(self) -> None:
        """kill -9 of the first process; returns when all of it is gone."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0])
        group = [pid, *children_of(pid)]
        os.kill(pid, signal.SIGKILL)
        ends = time.monotonic() + float(IN_TIME_S)
        while any(Path(f"/proc/{one}").exists() for one in group):
            assert time.monotonic() < ends, "a process of PostgreSQL outlives the first"
            time.sleep(0.05)

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-t", IN_TIME_S, "-m", mode, "stop")

    def empty(self) -> None:
        """Drop what a test made."""
        self.do("DROP TABLE IF EXISTS jobs")

    def do(self, statement: str) -> None:
        self._run("psql", *self._server, "-c", statement, "jobs")

    def ask_for_passwords(self, password: str) -> None:
        """From now on TCP needs it; this object's own calls do not work any more."""
        self.do(f"ALTER USER ai102 PASSWORD '{password}'")
        (self.folder / "data" / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n", encoding="ascii")
        self._run("pg_ctl", "-D", f"{self.folder}/data", "reload")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._bin / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            user=self._user.pw_uid if self._user else None,
            group=self._user.pw_gid if self._user else None,
            cwd=self.folder,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, f"{program}: {done.stdout}"


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(one) for one in text.split()]


@contextmanager
def postgresql(*, fsync: bool = False) -> Iterator[PostgreSQL]:
    if not INSTALLED:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="ai102-postgresql-"))
    try:
        server = PostgreSQL(folder, fsync=fsync)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
