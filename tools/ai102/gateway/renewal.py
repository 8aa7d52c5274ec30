"""Renewed certificates: a running proxy takes them by itself, and refuses those that it could not serve with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ai102.errors import UserError
from ai102.gateway import running
from ai102.gateway.policy import Gateway
from ai102.gateway.running import Runner

# What tells one state of a file from another: a Secret's volume leads to another file, `cp` writes into the same one.
Mark = tuple[int, int, int] | None


class Renewal:
    """What was on disk before the proxy of `runner` last read it; `look` lets it read what changed since."""

    def __init__(self, runner: Runner, say: Callable[[str], None]) -> None:
        self._runner, self._say = runner, say
        self.taken()

    def taken(self) -> None:
        """The proxy is about to be started, and reads what is there now."""
        self._marks = _marks(self._runner.gateway, self._runner.home)

    def look(self) -> None:
        """Reload the proxy once for each change. What cannot be served is said, and the certificate before goes on."""
        marks = _marks(self._runner.gateway, self._runner.home)
        if marks == self._marks:
            return
        self._marks = marks
        try:
            running.reload(self._runner.gateway, self._runner.home, self._runner.proxy)
        except UserError as err:
            self._say(f"{err}; the certificate of before goes on until the file changes again")
        else:
            self._say("the certificate is another one: the proxy has it, and calls under way finish")


def _marks(gateway: Gateway, home: Path) -> tuple[Mark, ...]:
    return tuple(_mark(home / path) for path in (gateway.tls.certificate, gateway.tls.client_ca) if path)


def _mark(path: Path) -> Mark:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)
