"""Start a tritonserver, wait until every model is ready, and stop it with all it started."""

import math
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from ai102.contract import Contract
from ai102.errors import UserError
from ai102.host.child import Child
from ai102.serve.addresses import chosen_ports, is_answered, reachable_url
from ai102.serve.arguments import PYTHON_BACKENDS, server_arguments
from ai102.serve.backend_directory import backend_directory_for
from ai102.serve.completion import completion_arguments
from ai102.serve.installation import Installation, installed_tritonserver, server_environment
from ai102.serve.triton_log import TritonLog

# The server uses all of it while a client keeps an HTTP connection open, even an idle one.
EXIT_TIMEOUT_S = 5
# Past its own time-out it needs a moment, and hangs for ever if a request outlasts it.
AFTER_EXIT_TIMEOUT_S = 5
STOP_TIMEOUT_S = EXIT_TIMEOUT_S + AFTER_EXIT_TIMEOUT_S
PORT_TRIES = 3  # with free ports, which tritonserver binds after its models are loaded
SHARED_MEMORY = Path("/dev/shm")


class Server:
    """A running tritonserver over `repository`; use it as a context manager.

    A port of 0 means any free one. `models` names those to load; None means all of the repository.
    `contract`: its table [server] is given to the server; of a flag in both, that of `extra_arguments` holds.
    `log` gets the server's log: a callable each line, a path the whole.
    Attributes once started: http_url, grpc_url and metrics_url ("127.0.0.1:8000"), and pid.
    """

    def __init__(
        self,
        repository: Path,
        *,
        host: str = "127.0.0.1",
        http_port: int = 8000,
        grpc_port: int = 8001,
        metrics_port: int = 8002,
        models: Sequence[str] | None = None,
        contract: Contract | None = None,
        extra_arguments: Sequence[str] = (),
        log: Callable[[str], None] | Path | None = None,
        ready_timeout_s: float = 120.0,
    ) -> None:
        self.repository = repository
        self.host = host
        self.models = models
        self.extra_arguments = (*(server_arguments(contract) if contract else ()), *extra_arguments)
        exit_timeout_s = contract.server.exit_timeout_s if contract else None
        self._stop_timeout_s = exit_timeout_s + AFTER_EXIT_TIMEOUT_S if exit_timeout_s else STOP_TIMEOUT_S
        self.ready_timeout_s = ready_timeout_s
        self._ports = {"http": http_port, "grpc": grpc_port, "metrics": metrics_port}
        self._log = log
        self._lines = TritonLog()
        self._child: Child | None = None
        self._reader: threading.Thread | None = None
        # Ours alone, so that what a killed server leaves behind can be distinguished from another server's.
        self._shared_memory_prefix = f"ai102_{os.getpid()}_{uuid.uuid4().hex[:8]}_"

    @property
    def http_url(self) -> str:
        """Where tritonclient.http finds this server."""
        return self._url("http")

    @property
    def grpc_url(self) -> str:
        """Where tritonclient.grpc finds this server."""
        return self._url("grpc")

    @property
    def metrics_url(self) -> str:
        """Where Prometheus finds /metrics of this server."""
        return self._url("metrics")

    @property
    def pid(self) -> int:
        """The process, which also leads its own process group."""
        return self._started.pid

    @property
    def last_error(self) -> str:
        """The last line the server logged as an error, without its noise."""
        return self._lines.last_error

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait until every model is ready; UserError says which port, model or file is wrong."""
        check_repository(self.repository, self.models)
        installation = installed_tritonserver()
        asked, tries = self._ports, PORT_TRIES if 0 in self._ports.values() else 1
        while True:
            tries -= 1
            self._ports = chosen_ports(self.host, asked)
            try:
                self._launch(installation)
                self._wait_until_ready()
            except BaseException as err:
                self.stop(at_once=True)
                # Another program took a free port while the models were loading.
                if not tries or not isinstance(err, UserError) or "already in use" not in self.last_error:
                    raise
                self._lines = TritonLog()
            else:
                return

    def wait(self, timeout_s: float) -> int | None:
        """The exit status if the server ends within `timeout_s`, else None."""
        return self._started.wait(timeout_s)

    def stop(self, *, at_once: bool = False) -> None:
        """TERM, then after a bound KILL to all it started; removes its shared memory. Safe to call twice."""
        if self._child is None:
            return
        try:
            if not at_once:
                self._child.ask_to_end(signal.SIGTERM, self._stop_timeout_s)
        finally:
            # Also when a second Ctrl-C breaks the wait.
            self.kill()
            self._child.reap()
            if self._reader is not None:
                self._reader.join(timeout=5)
            self._child = None

    def kill(self) -> None:
        """End the server and its children now, and remove the shared memory they leave."""
        if self._child is not None:
            self._child.kill()
        for region in SHARED_MEMORY.glob(f"{self._shared_memory_prefix}*"):
            region.unlink(missing_ok=True)

    @property
    def _started(self) -> Child:
        if self._child is None:
            raise RuntimeError("the server is not started: use it in a with statement")
        return self._child

    def _url(self, protocol: str) -> str:
        return reachable_url(self.host, self._ports[protocol])

    def _launch(self, installation: Installation) -> None:
        backends = backend_directory_for(installation, os.environ)
        environment = server_environment(installation, os.environ)
        sink = self._log_sink()
        command = [str(installation.binary), *self._arguments(installation, backends)]
        self._child = Child(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            environment=environment,
            grace_s=self._stop_timeout_s,
            leftovers=str(SHARED_MEMORY / self._shared_memory_prefix),
        )
        assert self._child.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._child.stdout, *sink), daemon=True)
        self._reader.start()

    def _arguments(self, installation: Installation, backends: Path | None) -> list[str]:
        arguments = [
            f"--model-repository={self.repository}",
            f"--exit-timeout-secs={EXIT_TIMEOUT_S}",
            "--allow-gpu-metrics=false",
            # Of 8 gRPC requests by default: those beyond cost 10 us each, to ask for memory anew.
            "--grpc-infer-allocation-pool-size=32",
        ]
        for protocol, port in self._ports.items():
            arguments += [f"--{protocol}-address={self.host}", f"--{protocol}-port={port}"]
        if backends is not None:
            arguments.append(f"--backend-directory={backends}")
            arguments.append(f"--cache-directory={installation.root / 'caches'}")
        for backend in ("python",) if backends is None else PYTHON_BACKENDS:
            arguments += [
                f"--backend-config={backend},shm-region-prefix-name={self._shared_memory_prefix}",
                # Triton gives a Python model 30 s to load, which a large file on a busy machine outlasts.
                f"--backend-config={backend},stub-timeout-seconds={math.ceil(self.ready_timeout_s)}",
            ]
        if self.models is not None:
            arguments.append("--model-control-mode=explicit")
            arguments += [f"--load-model={model}" for model in self.models]
        arguments += self.extra_arguments
        return [*completion_arguments(self.repository, arguments), *arguments]

    def _read(self, stream: IO[bytes], write: Callable[[str], None], finish: Callable[[], None]) -> None:
        try:
            for raw in stream:
                line = raw.decode("utf-8", "replace").rstrip("\n")
                self._lines.add(line)
                write(line)
        finally:
            for _ in stream:
                pass  # a full pipe would stop the server
            finish()

    def _log_sink(self) -> tuple[Callable[[str], None], Callable[[], None]]:
        """What takes each line of the log, and what closes it."""
        log = self._log
        if not isinstance(log, Path):
            return log or (lambda line: None), lambda: None
        try:
            file = log.open("w", encoding="utf-8", buffering=1)
        except OSError as err:
            raise UserError(f"cannot write the server's log to {log} ({err.strerror}): give another file") from err
        return lambda line: print(line, file=file), file.close

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.ready_timeout_s
        while time.monotonic() < deadline:
            if (status := self.wait(0.05)) is not None:
                assert self._reader is not None
                self._reader.join(timeout=5)
                raise UserError(self._lines.why_it_ended(status))
            if is_answered(f"http://{self.http_url}/v2/health/ready"):
                return
        raise UserError(self._lines.why_not_ready(self.ready_timeout_s))


def run_until_signal(
    server: Server, tell_ready: Callable[[], None], before_stop: Callable[[], None] = lambda: None
) -> None:
    """Block until Ctrl-C or TERM, then stop the server; a second one kills it at once.

    `tell_ready` is called once a signal is waited for: whoever reads it may send one at once. `before_stop` is called
    while the server still answers.

    Raises UserError when the server ends by itself.
    """
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        received.append(number)
        if len(received) > 1:
            server.kill()

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        tell_ready()
        while not received:
            status = server.wait(0.2)
            if status is not None and not received:
                raise UserError(f"tritonserver ended by itself (status {status}): {server.last_error}")
        before_stop()
        server.stop()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def check_repository(repository: Path, models: Sequence[str] | None) -> None:
    """Raise UserError when the repository, or one of `models` in it, does not exist."""
    if not repository.is_dir():
        raise UserError(f"there is no model repository {repository}: run `make engine`, or give another folder")
    known = sorted(path.name for path in repository.iterdir() if path.is_dir())
    if models is None and not known:
        raise UserError(f"the model repository {repository} is empty: run `make engine`, or give another folder")
    for model in models or ():
        if model not in known:
            raise UserError(f"model {model!r} is not in {repository}: it has {', '.join(known) or 'no models'}")
