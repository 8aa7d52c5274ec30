"""The peers whose jobs are measured, each with the processes that its users start."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from ai102.serve.installation import allocator
from loadtest.bench import processes
from loadtest.jobs.stack import ROOT
from loadtest.jobs.works import folder_of_results
from tests.jobs.sidecars import PASSWORD, Redis
from tests.ports import free_port

PROGRAMS = Path(__file__).parent / "peers"
REQUIREMENTS = PROGRAMS / "requirements.txt"
VENV = folder_of_results() / "venv"
READY_S = 90.0


@dataclass(frozen=True)
class Peer:
    """`api` and `worker` are modules run with arguments; a peer without a worker computes in what its API starts."""

    name: str
    distributions: tuple[str, ...]
    durable: str
    api: tuple[str, ...]
    worker: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    worker_name: str = ""  # part of the command line of the process that computes, where the API starts it
    call: int = 100
    one_path: str = "/job"
    many_path: str = "/jobs"
    status: int = 202
    as_rows: bool = False  # the body of BentoML
    has_redis: bool = True
    redis_keeps: str = "aof"
    patience_s: float = 10.0  # what was not lost comes within it

    def one(self, row: list[int]) -> dict[str, Any]:
        return {"rows": [row]} if self.as_rows else {"pixels": row}

    def many(self, rows: list[list[int]]) -> dict[str, Any]:
        return {"rows": rows} if self.as_rows else {"jobs": rows}

    def accepted(self, answer: dict[str, Any], jobs: int) -> list[tuple[str, int]]:
        """The id of each task, and of how many jobs it is."""
        return [(answer["task_id"], jobs)] if self.as_rows else [(id, count) for id, count in answer["accepted"]]


UVICORN = ("uvicorn", "--host", "127.0.0.1", "--log-level", "warning", "--no-access-log")
CELERY = ("celery", "-A", "celery_tasks", "worker", "--concurrency", "1", "--loglevel", "WARNING")
ARQ = ("arq", "arq_tasks.WorkerSettings")
BENTOML = ("bentoml", "serve", "bentoml_tasks:Digits", "--host", "127.0.0.1", "--working-dir", str(PROGRAMS))
IN_REDIS = "written to Redis, whose append-only file is synced once a second"
PEERS = {
    "celery": Peer(
        "Celery, a task a job, celery-batches", ("celery", "celery-batches", "redis"), IN_REDIS,
        (*UVICORN, "celery_api:app"), CELERY, patience_s=110.0,
    ),
    "celery-chunk": Peer(
        "Celery, a task for up to 64 jobs", ("celery", "redis"), IN_REDIS,
        (*UVICORN, "celery_api:app"), CELERY, {"JOBS_FORM": "chunk"}, patience_s=110.0,
    ),
    "celery-plain": Peer(
        "Celery and Redis as they come, celery-batches", ("celery", "celery-batches", "redis"),
        "in the memory of Redis, which writes it within an hour, or a minute under load",
        (*UVICORN, "celery_api:app"), CELERY, {"JOBS_SETTINGS": "plain"}, redis_keeps="snapshots",
    ),
    "arq": Peer("arq, a job of it a job", ("arq", "redis"), IN_REDIS, (*UVICORN, "arq_api:app"), ARQ, patience_s=30.0),
    "arq-chunk": Peer(
        "arq, a job of it for up to 64 jobs", ("arq", "redis"), IN_REDIS,
        (*UVICORN, "arq_api:app"), ARQ, {"JOBS_FORM": "chunk"}, patience_s=30.0,
    ),
    "ray": Peer(
        "Ray Serve, a call of a handle a job", ("ray",), "never: in the memory of the caller of the handle",
        (*UVICORN, "ray_app:app"), worker_name="ServeReplica", has_redis=False,
    ),
    "ray-chunk": Peer(
        "Ray Serve, a call of a handle for up to 64 jobs", ("ray",), "never: in the memory of the caller of the handle",
        (*UVICORN, "ray_app:app"), environment={"JOBS_FORM": "chunk"}, worker_name="ServeReplica", has_redis=False,
    ),
    "bentoml": Peer(
        "BentoML, a task for up to 64 jobs", ("bentoml",), "never: its SQLite file is removed when the server starts",
        BENTOML, worker_name="_bentoml_impl.worker", call=64, one_path="/infer/submit", many_path="/infer/submit",
        status=200, as_rows=True, has_redis=False,
    ),
    "xadd": Peer(
        "a bare FastAPI route that does one XADD", ("fastapi", "uvicorn", "redis"), IN_REDIS, (*UVICORN, "xadd_api:app")
    ),
    "xadd-checked": Peer(
        "the same route, its body checked by Pydantic", ("fastapi", "uvicorn", "redis"), IN_REDIS,
        (*UVICORN, "xadd_api:app"), one_path="/checked",
    ),
}  # fmt: skip


class Program:
    """A peer's command with all that it starts; it is started again when it ends by itself, as by a supervisor."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._command = [str(VENV / "bin" / "python"), "-m", *command]
        self._mark = uuid.uuid4().hex
        self._environment = {**environment, processes.MARK: self._mark}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._is_wanted = False
        self._lock = threading.Lock()
        self.ended_itself = 0

    def start(self) -> None:
        with self._lock:
            self._is_wanted = True
            self._start()

    def keep_up(self) -> None:
        with self._lock:
            if self._is_wanted and self._process is not None and self._process.poll() is not None:
                self.ended_itself += 1
                self._start()

    def kill(self) -> None:
        """kill -9 of all its processes."""
        with self._lock:
            self._is_wanted = False
            ends = time.monotonic() + 30
            while found := self.processes():
                assert time.monotonic() < ends, f"{found} cannot be killed"
                processes.send_signal(found, signal.SIGKILL)
                psutil.wait_procs(found, timeout=5)
            if self._process is not None:
                self._process.wait(timeout=30)

    def processes(self) -> list[psutil.Process]:
        assert self._process is not None
        return processes.processes_of(self._process.pid, self._mark)

    def stop(self) -> None:
        if self._process is not None:
            self._is_wanted = False
            processes.end(self.processes())
            self.kill()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=PROGRAMS, start_new_session=True,
            )  # fmt: skip


class Child:
    """The process that computes, which a peer's server starts, and starts again."""

    def __init__(self, program: Program, name: str) -> None:
        self._program = program
        self._name = name

    def kill(self) -> None:
        until(lambda: bool(self._computing()), f"a process called {self._name}", READY_S)
        computing = self._computing()
        processes.send_signal(computing, signal.SIGKILL)
        psutil.wait_procs(computing, timeout=10)

    def start(self) -> None: ...

    def _computing(self) -> list[psutil.Process]:
        return [one for one in self._program.processes() if self._name in command_line(one)]


class AnyRedis(Redis):
    """With Debian's settings where `keeps` is "snapshots"."""

    def __init__(self, folder: Path, keeps: str) -> None:
        super().__init__(folder)
        self._keeps = keeps

    def start(self) -> None:
        super().start()
        if self._keeps == "snapshots":
            self.asked("CONFIG", "SET", "appendonly", "no")
            self.asked("CONFIG", "SET", "save", "3600 1 300 100 60 10000")
            shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)


@dataclass
class Running:
    """A peer whose API answers."""

    peer: Peer
    address: str
    api: Program
    worker: Program | Child
    redis: Redis | None
    folder: Path

    @property
    def computed_file(self) -> Path:
        return self.folder / "computed"

    def computed(self) -> int:
        """How many jobs the worker has computed, repeated ones too."""
        return self.computed_file.stat().st_size // 4 if self.computed_file.exists() else 0

    def done(self) -> int:
        """How many jobs have a result where the server says so, after full calls; else how many were computed."""
        if self.peer.as_rows:
            return len(self._completed()) * self.peer.call
        if self.peer.worker_name:
            return int(httpx.get(f"http://{self.address}/done", timeout=20).json())
        return self.computed()

    def ended(self, ids: Sequence[str]) -> set[str]:
        """Those that have a result now. Raises httpx.HTTPError while the API does not answer."""
        if self.peer.as_rows:
            return self._completed() & set(ids)
        answer = httpx.post(f"http://{self.address}/ended", json={"ids": list(ids)}, timeout=30)
        return set(answer.raise_for_status().json())

    def _completed(self) -> set[str]:
        """Of BentoML's own file, which it makes anew when it starts."""
        with suppress(sqlite3.OperationalError):
            file = f"file:{self.folder}/results.db?mode=ro"
            with closing(sqlite3.connect(file, timeout=10, uri=True)) as database:
                rows = database.execute("SELECT task_id FROM result WHERE status = 'completed'").fetchall()
            return {id for (id,) in rows}
        return set()


@contextmanager
def running(key: str, folder: Path, notes: bool = True) -> Iterator[Running]:
    """Its API started, and Redis; the worker is not. `notes`: the worker writes down what it computes."""
    peer = PEERS[key]
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "JOBS_MODEL": str(model_file()),
        "JOBS_FOLDER": str(folder / "ray"),
        "OMP_NUM_THREADS": "1",
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_RESULT_STORE": str(folder / "results.db"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # its programs listen on 127.0.0.1 alone, as on those systems
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        **allocator(os.environ),
        **peer.environment,
    }
    if notes:
        environment["JOBS_COMPUTED"] = str(folder / "computed")
    redis = AnyRedis(folder, peer.redis_keeps) if peer.has_redis else None
    if redis:
        redis.start()
        environment["JOBS_REDIS"] = f"redis://:{PASSWORD}@127.0.0.1:{redis.port}/0"
    api = Program([*peer.api, "--port", str(port)], environment, folder / "api.log")
    worker: Program | Child
    worker = Program(peer.worker, environment, folder / "worker.log") if peer.worker else Child(api, peer.worker_name)
    try:
        api.start()
        started = Running(peer, f"127.0.0.1:{port}", api, worker, redis, folder)
        until(lambda: is_up(started), f"{peer.name} answers ({folder})", READY_S)
        yield started
    finally:
        if isinstance(worker, Program):
            worker.stop()
        api.stop()
        if redis and redis.process and redis.process.poll() is None:
            redis.kill()


def is_up(running: Running) -> bool:
    """uvicorn listens once the application has started; BentoML's server before its worker."""
    if running.peer.as_rows:
        with suppress(httpx.HTTPError):
            return httpx.get(f"http://{running.address}/readyz", timeout=5).status_code == 200
        return False
    host, _, port = running.address.partition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), 5):
        return True
    return False


def until(is_so: Callable[[], bool], what: str, seconds: float, pause_s: float = 0.05) -> None:
    ends = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > ends:
            raise RuntimeError(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause_s)


def command_line(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def model_file() -> Path:
    (file,) = (ROOT / "model_repository" / "digits_int8").glob("*/model.onnx")
    return file
