"""Start the tritonservers of gateway.toml, keep them running, and stop them with all they started."""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai102.contract import Contract
from ai102.errors import UserError
from ai102.gateway.discovery import Replica
from ai102.gateway.policy import Gateway
from ai102.gateway.secret import secret_of
from ai102.serve.server import Server
from ai102.serve.traces import tracing_arguments

RESTRICTED = "model-repository,shared-memory,trace,logging"
SECRET_NAME = "ai102-secret"
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
# One that ran so long before it ended is started again without the longer waits of those that do not.
STEADY_S = 60.0

Say = Callable[[str], None]


def restricting_arguments(secret: str) -> list[str]:
    """What makes tritonserver refuse its admin APIs to a request without the secret."""
    return [
        f"--http-restricted-api={RESTRICTED}:{SECRET_NAME}={secret}",
        f"--grpc-restricted-protocol={RESTRICTED}:{SECRET_NAME}={secret}",
    ]


def serve_replicas(
    gateway: Gateway,
    home: Path,
    count: int,
    repository: Path,
    *,
    models: Sequence[str] | None = None,
    contract: Contract | None = None,
    extra_arguments: Sequence[str] = (),
    collector: str = "",
    say: Say,
    log: Say,
) -> None:
    """Serve `repository` from the first `count` replicas of the policy until Ctrl-C or TERM.

    Each is started as `contract` says in [server].
    `collector` gets the spans of traced calls; empty: nothing is traced.
    `say` gets a line for each replica that is ready, ended or comes back, `log` the servers' own logs.
    Raises UserError when `count` is more than the policy has, or a replica does not become ready the first time;
    one that ends later is started again, at first after half a second, then after up to half a minute.
    """
    known = gateway.triton.named
    if not 1 <= count <= len(known):
        raise UserError(f"--replicas is {count}; gateway.toml has {len(known)}: add a table [[triton.replicas]]")
    arguments = (*restricting_arguments(secret_of(home / gateway.triton.secret_file)), *extra_arguments)
    stop, reports = threading.Event(), queue.Queue[Exception | None]()
    kept = [
        _Kept(
            replica.name,
            _server(replica, repository, models, contract, arguments, collector, log),
            stop,
            reports,
            say,
        )
        for replica in known[:count]
    ]
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    threads = [threading.Thread(target=one.run, name=f"replica {one.name}") for one in kept]
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            if failure := reports.get():
                raise failure
        if not stop.is_set():
            say(f"ready: {count} replicas (Ctrl-C stops them)")
        stop.wait()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for number, handler in previous.items():
            signal.signal(number, handler)


@dataclass(frozen=True)
class _Kept:
    name: str
    server: Server
    stop: threading.Event
    reports: queue.Queue[Exception | None]  # of the first start: None, or why not
    say: Say

    def run(self) -> None:
        try:
            self.server.start()
        except Exception as err:  # noqa: BLE001 - raised again in the main thread
            self.reports.put(err)
            return
        self.reports.put(None)
        try:
            self._keep()
        finally:
            self.server.stop()

    def _keep(self) -> None:
        self.say(f"replica {self.name}: http://{self.server.http_url} grpc://{self.server.grpc_url} pid "
                 f"{self.server.pid}, metrics http://{self.server.metrics_url}/metrics")  # fmt: skip
        since, wait_s = time.monotonic(), FIRST_WAIT_S
        while not self.stop.is_set():
            status = self.server.wait(0.2)
            if status is None:
                continue
            if time.monotonic() - since > STEADY_S:
                wait_s = FIRST_WAIT_S
            self.say(f"replica {self.name} ended (status {status}): starts again in {wait_s:g} s")
            if self.stop.wait(wait_s):
                return
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            since = time.monotonic()
            if self._is_started_again():
                self.say(f"replica {self.name} is back, pid {self.server.pid}")

    def _is_started_again(self) -> bool:
        while not self.stop.is_set():
            try:
                self.server.stop(at_once=True)  # what a killed server leaves: its children, its shared memory
                self.server.start()
            except Exception as err:  # noqa: BLE001 - no file or no memory left: whatever it is, the replica must return
                why = str(err) if isinstance(err, UserError) else f"{type(err).__name__}: {err}"
                self.say(f"replica {self.name} does not start: {why}; tries again in {LONGEST_WAIT_S:g} s")
                self.stop.wait(LONGEST_WAIT_S)
            else:
                return True
        return False


def _server(
    replica: Replica,
    repository: Path,
    models: Sequence[str] | None,
    contract: Contract | None,
    arguments: Sequence[str],
    collector: str,
    log: Say,
) -> Server:
    host, _, http_port = replica.http.rpartition(":")
    grpc_host, _, grpc_port = replica.grpc.rpartition(":")
    if host != grpc_host:
        raise UserError(
            f"gateway.toml: replica {replica.name}: http is on {host} and grpc on {grpc_host}; a server has one address"
        )
    return Server(
        repository,
        host=host.strip("[]"),
        http_port=int(http_port),
        grpc_port=int(grpc_port),
        metrics_port=0,
        models=models,
        contract=contract,
        extra_arguments=(*(tracing_arguments(collector, replica.name) if collector else ()), *arguments),
        log=lambda line: log(f"{replica.name} | {line}"),
    )
