"""The processes on the server's core: Triton, a peer, or the session loop; start, pause, measure and stop them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import IO, Any

import psutil

from ai102.serve.installation import allocator
from ai102.serve.server import Server
from loadtest.bench import processes as processes
from loadtest.bench.peers import PEERS_FOLDER, CannotRunError, Peer
from loadtest.bench.results import Round
from loadtest.bench.stats import round_from_latencies
from loadtest.bench.works import ROOT, Work

START_TIMEOUT_S = 120.0


class Host:
    """A started server. A resting server's processes are stopped (SIGSTOP), so that they use no CPU time."""

    address = ""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.mark = uuid.uuid4().hex
        self._resting: list[psutil.Process] = []

    def processes(self) -> list[psutil.Process]:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def check_alive(self) -> None:
        """Raises CannotRunError when its process has ended."""

    def rest(self) -> None:
        self._resting = self.processes()
        processes.send_signal(self._resting, signal.SIGSTOP)

    def wake(self) -> None:
        processes.send_signal(self._resting, signal.SIGCONT)
        self._resting = []

    def memory_mb(self) -> tuple[float, float | None]:
        return processes.memory_mb(self.processes())


class TritonHost(Host):
    """A tritonserver with the models of the work."""

    def __init__(self, work: Work, core: int) -> None:
        super().__init__()
        log = work.file.parent / "Triton.log"
        self.server = Server(work.repository, http_port=0, grpc_port=0, metrics_port=0, models=work.models, log=log)
        with processes.on_core(core):
            self.server.start()

    def processes(self) -> list[psutil.Process]:
        return processes.processes_of(self.server.pid)

    def stop(self) -> None:
        self.wake()
        self.server.stop()


class _ScriptHost(Host):
    """One script of peers/ in its own process session, configured by environment variables."""

    def __init__(
        self, python: Path, script: str, work: Work, core: int, variant: str, engine: str, log: IO[bytes], **pipes: Any
    ):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        port = _free_port()
        self.address = f"127.0.0.1:{port}"
        environment = os.environ | {
            "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": f"{ROOT / 'tools'}{os.pathsep}{PEERS_FOLDER}",
            "BENCH_WORK": str(work.file),
            "BENCH_PORT": str(port),
            "BENCH_VARIANT": variant,
            "BENCH_ENGINE": engine,
            "BENCH_FOLDER": str(self.folder),
            processes.MARK: self.mark,
            "OMP_NUM_THREADS": "1",
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": str(self.folder / "bentoml"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            **allocator(os.environ),  # as for Triton
        }
        with processes.on_core(core):
            self.process = subprocess.Popen(
                [str(python), str(PEERS_FOLDER / script)],
                env=environment,
                stderr=log,
                start_new_session=True,
                **pipes,
            )

    def processes(self) -> list[psutil.Process]:
        return processes.processes_of(self.process.pid, self.mark)

    def check_alive(self) -> None:
        if self.process.poll() is not None:
            raise CannotRunError(f"exited with status {self.process.returncode}")

    def stop(self) -> None:
        try:
            processes.end(self.processes())
            self.process.wait()
        finally:
            processes.end(self.processes(), timeout_s=1.0)  # processes that it started while it ended
            shutil.rmtree(self.folder, ignore_errors=True)


class PeerHost(_ScriptHost):
    """A server of another framework; its log is in build/bench/works/WORK."""

    def __init__(self, peer: Peer, variant: str, python: Path, work: Work, core: int) -> None:
        self.log_file = work.file.parent / f"{peer.key}-{variant}.log"
        with self.log_file.open("wb") as log:
            super().__init__(
                python, peer.script, work, core, variant, peer.engine(work), log, stdin=subprocess.DEVNULL, stdout=log
            )

    def check_alive(self) -> None:
        if self.process.poll() is not None:
            lines = self.log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            last_line = lines[-1][:200] if lines else "it logged nothing"
            raise CannotRunError(f"exited with status {self.process.returncode}: {last_line}")


class LoopHost(_ScriptHost):
    """The session in a loop; each line on its stdin requests a round."""

    def __init__(self, work: Work, core: int) -> None:
        with (work.file.parent / "session_loop.log").open("wb") as log:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            super().__init__(Path(sys.executable), "session_loop.py", work, core, "", work.engine, log, **pipes)
        try:
            self._line()
        except BaseException:
            self.stop()
            raise

    def measure(self, batch: int, seconds: float) -> Round:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"batch": batch, "seconds": seconds}) + "\n")
        self.process.stdin.flush()
        times = json.loads(self._line())
        return round_from_latencies(times["latencies_s"], times["count"], times["elapsed_s"])

    def _line(self) -> str:
        assert self.process.stdout is not None
        line: str = self.process.stdout.readline()
        if not line:
            self.process.wait(timeout=10)
            raise CannotRunError(f"exited with status {self.process.returncode}")
        return line


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
