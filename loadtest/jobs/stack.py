"""The parts of a run, each a process of its own: database, broker, sidecars, API, worker, Triton."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from ai102.jobs.ledger.ledger import Ledger
from tests.jobs.databases import postgresql
from tests.jobs.sidecars import behind_dapr

ROOT = Path(__file__).parent.parent.parent
# With fsync every commit, and every append of the broker, waits for the disk.
Engine = Literal["embedded", "dapr", "embedded-fsync", "dapr-fsync"]


class Kept(NamedTuple):
    """Where jobs are, as options of the API and of a worker."""

    ledger_url: str
    api: list[str]
    worker: list[str]


class Program:
    """A command of `ai102` that has said it is ready."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ai102", *arguments],
            cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stderr is not None
        self.line = self._process.stderr.readline()
        if not self.line.startswith("ready: "):
            raise RuntimeError(self.line + self._process.stderr.read())
        threading.Thread(target=self._drain, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def memory_mb(self) -> float:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    @property
    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.wait(timeout=60)

    def _drain(self) -> None:
        assert self._process.stderr is not None
        for _ in self._process.stderr:
            pass


@contextmanager
def kept(engine: Engine, folder: Path) -> Iterator[Kept]:
    """An empty ledger and queue: SQLite alone, or PostgreSQL, Redis and two sidecars."""
    fsync = engine.endswith("-fsync")
    if engine.startswith("embedded"):
        options = ["--jobs", str(folder), *(["--fsync"] if fsync else [])]
        yield Kept(f"sqlite:///{folder}/ledger.db", options, options)
        return
    with ExitStack() as opened:
        database = opened.enter_context(postgresql(fsync=fsync))
        _, api, worker = opened.enter_context(behind_dapr(folder, fsync=fsync))
        common = ["--jobs", str(folder), "--ledger", database.url]
        yield Kept(database.url, [*common, "--dapr", api.url], [*common, "--dapr", worker.url, "--app", worker.app])


@contextmanager
def api(options: Sequence[str], triton: str = "grpc://127.0.0.1:1") -> Iterator[tuple[Program, str]]:
    """The API and its address, HOST:PORT."""
    program = Program(["api", "serve", "--listen", "127.0.0.1:0", "--url", triton, *options])
    try:
        yield program, program.line.split()[1].removeprefix("http://")
    finally:
        program.stop()


@contextmanager
def worker(options: Sequence[str], triton: str) -> Iterator[Program]:
    program = Program(["jobs", "work", "--url", triton, *options])
    try:
        yield program
    finally:
        program.stop()


@contextmanager
def emptied(engine: Engine) -> Iterator[tuple[Kept, Ledger]]:
    """A ledger and queue of their own, and the ledger opened."""
    with tempfile.TemporaryDirectory(prefix="ai102-jobs-") as name, kept(engine, Path(name)) as where:
        ledger = Ledger(where.ledger_url)
        try:
            yield where, ledger
        finally:
            ledger.close()
