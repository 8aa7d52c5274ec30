"""Programs of ours that run beside a tritonserver and are started again when one ends by itself."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from ai102.errors import UserError
from ai102.host.child import Child

STOP_S = 20
AGAIN_S = 1.0


class Beside:
    """Each program is a command line of `ai102`, by the name under which it is spoken of; they start in order.

    A program is started when the one before it has said on stderr that it is ready. What they write goes on to ours.
    """

    def __init__(self, programs: Sequence[tuple[str, Sequence[str]]], say: Callable[[str], None]) -> None:
        self._programs = programs
        self._say = say
        self._running: dict[str, Child] = {}
        self._readers: list[threading.Thread] = []
        self._is_stopping = threading.Event()
        self._watch = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        """Raises UserError when a program ends instead of getting ready; the others are then stopped."""
        try:
            for name, arguments in self._programs:
                self._start(name, arguments)
        except BaseException:
            self.stop()
            raise
        self._watch.start()

    def stop(self) -> None:
        """End the programs, the first one first, and wait for each: it finishes what it has begun."""
        self._is_stopping.set()
        if self._watch.is_alive():
            self._watch.join()
        for name, _ in self._programs:
            if child := self._running.pop(name, None):
                child.ask_to_end(signal.SIGTERM, STOP_S)
                child.kill()
                child.reap()
        for reader in self._readers:
            reader.join(timeout=5)

    def _start(self, name: str, arguments: Sequence[str]) -> None:
        child = Child(
            [sys.executable, "-m", "ai102", *arguments],
            stdout=sys.stdout.fileno(),
            stderr=subprocess.PIPE,
            grace_s=STOP_S,
        )
        self._running[name] = child
        lines: list[str] = []
        is_ready = threading.Event()

        def read() -> None:
            assert child.stderr is not None
            for line in child.stderr:
                text = line.decode("utf-8", "replace").rstrip("\n")
                lines.append(text)
                del lines[:-5]
                if text.startswith("ready: "):
                    is_ready.set()
                self._say(f"{name}: {text}")
            is_ready.set()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        self._readers.append(reader)
        is_ready.wait()
        if child.wait(0) is not None or not any(line.startswith("ready: ") for line in lines):
            child.wait(STOP_S)
            raise UserError(f"{name} did not start: {lines[-1] if lines else f'status {child.status}'}")

    def _keep(self) -> None:
        while not self._is_stopping.wait(0.2):
            for name, arguments in self._programs:
                child = self._running[name]
                if child.status is None or self._is_stopping.wait(AGAIN_S):
                    continue
                self._say(f"{name}: ended by itself (status {child.status}), starting again")
                child.kill()
                child.reap()
                try:
                    self._start(name, arguments)
                except UserError as err:
                    self._say(str(err))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
