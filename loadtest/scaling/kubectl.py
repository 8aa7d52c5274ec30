"""The cluster by kubectl: one answer, a stream of changes, a stream of log lines."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from ai102.errors import UserError

NAMESPACE = "ai102"
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Kubectl:
    """A program and the options that name the cluster."""

    command: tuple[str, ...]

    def run(self, *words: str, text: str | None = None) -> str:
        """What it prints. Raises UserError with its complaint."""
        line = [*self.command, *words]
        try:
            done = subprocess.run(line, input=text, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as err:
            raise UserError(f"kubectl {' '.join(words)}: {err}") from err
        if done.returncode:
            raise UserError(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def get(self, path: str) -> Any:
        """The object at a path of the API."""
        return json.loads(self.run("get", "--raw", path))

    def pods(self, name: str, namespace: str = NAMESPACE) -> list[Any]:
        """The pods with that app.kubernetes.io/name."""
        selector = f"labelSelector=app.kubernetes.io/name%3D{name}"
        items: list[Any] = self.get(f"/api/v1/namespaces/{namespace}/pods?{selector}")["items"]
        return items


class Lines:
    """Lines that a kubectl prints while it runs, with the moment at which each came; in the order of arrival."""

    def __init__(self, kubectl: Kubectl, words: Sequence[str], take: Callable[[float, str], None]) -> None:
        """`take` gets the moment by time.monotonic() and the line, in a thread of its own."""
        self._kubectl, self._words, self._take = kubectl, words, take
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        line = [*self._kubectl.command, *self._words]
        self._process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._thread = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._thread.join()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._take(time.monotonic(), line)
