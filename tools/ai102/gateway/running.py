"""Running a gateway: render, check, start and watch a proxy, give it a new policy, stop it with its children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import IO, Literal, Self

from ai102.access_log.masked import masked_rows
from ai102.artifact import write_text
from ai102.errors import UserError
from ai102.gateway import certs
from ai102.gateway.haproxy import proxy as haproxy
from ai102.gateway.nginx import proxy as nginx
from ai102.gateway.policy import Gateway
from ai102.gateway.secret import secret_of
from ai102.host.child import Child
from ai102.host.listen import check_free, host_and_port

ProxyName = Literal["haproxy", "nginx"]
PROXIES: dict[str, ModuleType] = {"haproxy": haproxy, "nginx": nginx}
# What lets each finish the requests it has.
GRACEFUL = {"haproxy": signal.SIGUSR1, "nginx": signal.SIGQUIT}
READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
GRACE_S = 2
RUNNING = Path("build/gateway/running")
# The policy of the running gateway, from its start or the last reload.
TAKEN = Path("build/gateway/taken.json")


def render(gateway: Gateway, home: Path, proxy: ProxyName) -> list[Path]:
    """Write the whole configuration of one proxy for the policy; gives the files, changed or not."""
    texts = PROXIES[proxy].files(gateway, home)
    for path, text in texts.items():
        write_text(path, text)
    return sorted(texts)


def check(gateway: Gateway, home: Path, proxy: ProxyName) -> None:
    """UserError when a certificate is missing or over, or the proxy itself would not take its rendered files."""
    certs.check(home / gateway.tls.certificate, "gateway.toml: tls.certificate")
    if gateway.tls.client_ca:
        certs.check(home / gateway.tls.client_ca, "gateway.toml: tls.client_ca")
    command = haproxy.checking_command(home) if proxy == "haproxy" else [*nginx.command(home), "-t"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{proxy} does not take its configuration: {_complaint(done.stderr.splitlines())}")


def reload(gateway: Gateway, home: Path, proxy: ProxyName) -> None:
    """Let the running proxy take `gateway`; UserError for one it would not take: then the files of before are back."""
    before = {path: path.read_text(encoding="utf-8") for path in PROXIES[proxy].files(gateway, home) if path.exists()}
    try:
        render(gateway, home, proxy)
        check(gateway, home, proxy)
        PROXIES[proxy].reload(home)
    except UserError:
        for path, text in before.items():
            write_text(path, text)
        raise
    write_text(home / TAKEN, gateway.model_dump_json())


def taken(home: Path) -> Gateway:
    """The policy of the running gateway; `ai102 gateway run` asks, since reloads are commands of their own."""
    return Gateway.model_validate_json((home / TAKEN).read_text(encoding="utf-8"))


def running_proxy(home: Path) -> ProxyName:
    """Which proxy was started for this home; UserError when none was."""
    try:
        name = (home / RUNNING).read_text(encoding="utf-8").strip()
    except FileNotFoundError as err:
        raise UserError(f"no gateway runs for {home}: start it with `ai102 gateway run`") from err
    return "nginx" if name == "nginx" else "haproxy"


@dataclass
class Runner:
    """A running proxy for one policy; use it as a context manager.

    `log`: a file for what it writes, as it is; without one it goes to our own output, through `mask`, and before that
    whole lines of it to `count`, as they are.
    """

    gateway: Gateway
    home: Path
    proxy: ProxyName = "haproxy"
    log: Path | None = None
    mask: Callable[[str], str] = str
    count: Callable[[bytes], None] = lambda _: None

    def __post_init__(self) -> None:
        self._child: Child | None = None
        self._complaints: deque[str] = deque(maxlen=50)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The proxy's first process, which leads its own process group."""
        return self._started.pid

    @property
    def why(self) -> str:
        """The proxy's last complaint."""
        return _complaint(list(self._complaints))

    def prepare(self) -> list[str]:
        """Render, check, and give the command of a start; UserError says what is missing, wrong or taken."""
        command: list[str] = PROXIES[self.proxy].command(self.home)
        secret_of(self.home / self.gateway.triton.secret_file)
        render(self.gateway, self.home, self.proxy)
        check(self.gateway, self.home, self.proxy)
        for name, address in self.gateway.listen.model_dump(exclude={"metrics"}).items():
            if address:
                check_free(address, f"gateway.toml: listen.{name}")
        return command

    def start(self) -> None:
        """Prepare and launch; UserError says what is missing, wrong or taken."""
        self.launch(self.prepare())

    def launch(self, command: Sequence[str]) -> None:
        """Run what `prepare` gave, and wait until it listens; UserError when it ends or does not."""
        output = self.log.open("ab") if self.log else subprocess.PIPE
        try:
            self._child = Child(command, stdout=output, stderr=subprocess.PIPE, grace_s=GRACE_S)
        finally:
            if not isinstance(output, int):
                output.close()
        assert self._child.stderr is not None
        threading.Thread(target=self._read, args=(self._child.stderr,), daemon=True).start()
        if self._child.stdout is not None:
            threading.Thread(target=self._pass_on, args=(self._child.stdout,), daemon=True).start()
        try:
            self._wait_until_listening()
        except BaseException:
            self.stop(at_once=True)
            raise
        write_text(self.home / TAKEN, self.gateway.model_dump_json())
        write_text(self.home / RUNNING, self.proxy + "\n")

    def wait(self, timeout_s: float) -> int | None:
        """The exit status if the proxy ends within `timeout_s`, else None."""
        return self._started.wait(timeout_s)

    def stop(self, *, at_once: bool = False) -> None:
        """Requests in flight may finish for some seconds; then all of it is ended. Safe to call twice."""
        if self._child is None:
            return
        try:
            if not at_once:
                self._child.ask_to_end(GRACEFUL[self.proxy], STOP_TIMEOUT_S)
        finally:
            self._child.kill()
            self._child.reap()
            self._child = None
            (self.home / RUNNING).unlink(missing_ok=True)

    @property
    def _started(self) -> Child:
        assert self._child is not None, "the gateway is not started: use it in a with statement"
        return self._child

    def _pass_on(self, stream: IO[bytes]) -> None:
        """Its access log, many lines at a time when there are many: masking each by itself costs more."""
        rest = b""
        while part := os.read(stream.fileno(), 1 << 16):
            lines, newline, rest = (rest + part).rpartition(b"\n")
            self.count(lines)
            sys.stdout.write(masked_rows((lines + newline).decode("utf-8", "replace"), self.mask))
            sys.stdout.flush()
        sys.stdout.write(self.mask(rest.decode("utf-8", "replace")))

    def _read(self, stream: IO[bytes]) -> None:
        for raw in stream:
            line = self.mask(raw.decode("utf-8", "replace").rstrip())
            self._complaints.append(line)
            print(line, file=sys.stderr)  # noqa: T201 - the proxy's own words, passed on

    def _wait_until_listening(self) -> None:
        ends = time.monotonic() + READY_TIMEOUT_S
        waiting = [self.gateway.listen.rest, self.gateway.listen.grpc]
        while waiting and time.monotonic() < ends:
            if self.wait(0.02) is not None:
                time.sleep(0.1)  # its last words
                raise UserError(f"{self.proxy} ended as soon as it was started: {self.why}")
            waiting = [address for address in waiting if not _is_listening(address)]
        if waiting:
            raise UserError(f"{self.proxy} does not listen on {waiting[0]} after {READY_TIMEOUT_S:g} s: {self.why}")


def _complaint(lines: list[str]) -> str:
    """The first line that tells what is wrong, without the proxy's own decoration."""
    alerts = [line for line in lines if "[ALERT]" in line or "[emerg]" in line] or lines
    return alerts[0].split(") : ", 1)[-1].split("[emerg] ", 1)[-1].strip() if alerts else "it does not say why"


def _is_listening(address: str) -> bool:
    host, port = host_and_port(address)
    try:
        with socket.create_connection(({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port), timeout=1):
            return True
    except OSError:
        return False
