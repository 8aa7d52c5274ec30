"""`ai102 top` in a terminal of its own, and what stands on its screen."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.dashboards.stack import Stack

ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """What the program wrote to its terminal since the last look, without escapes."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._text = ""

    def wait_for(self, words: str, within_s: float) -> None:
        """Read until `words` are written; AssertionError has what was written instead."""
        ends = time.monotonic() + within_s
        while words not in self._text:
            left = ends - time.monotonic()
            assert left > 0, f"not within {within_s:g} s: {words!r} in {self._text[-2000:]!r}"
            if select.select([self._master], [], [], left)[0]:
                self._text += ESCAPES.sub(b"", os.read(self._master, 1 << 16)).decode("utf-8", "replace")
        self._text = self._text[self._text.index(words) :]


def _drain(master: int, process: subprocess.Popen[bytes], within_s: float) -> None:
    """Read what the process still writes until it ends: a terminal that nobody reads stops it."""
    ends = time.monotonic() + within_s
    while process.poll() is None and time.monotonic() < ends:
        if select.select([master], [], [], 0.1)[0]:
            with suppress(OSError):
                os.read(master, 1 << 16)


@contextmanager
def live(stack: Stack, *words: str) -> Iterator[Screen]:
    """`ai102 top` with one reading a second; Ctrl-C ends it, and it must then end well."""
    master, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    process = subprocess.Popen(
        [sys.executable, "-m", "ai102", "top", "--interval", "1", *words], cwd=stack.folder, env=environment,
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    try:
        yield Screen(master)
        process.send_signal(signal.SIGINT)
        _drain(master, process, 30.0)
        process.wait(30)
    finally:
        process.kill()
        process.wait()
        os.close(master)
