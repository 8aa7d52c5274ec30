"""A program that ends when this process ends, even by kill -9, with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

# Reads a pipe that ends when this process does, and then stops the child: TERM, some seconds, KILL to all its group.
# PR_SET_PDEATHSIG would need preexec_fn, which is unsafe beside threads, and could not follow up with KILL.
GUARDIAN = """
read _
kill -TERM "$1"
waited=0
while kill -0 "$1" && [ "$waited" -lt "$2" ]; do sleep 1; waited=$((waited + 1)); done
kill -KILL "-$1"
[ -z "$3" ] || rm -f "$3"*
"""


class Child:
    """A running program that leads its own process group, and the shell that guards it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdout: int | IO[bytes],
        stderr: int | IO[bytes],
        grace_s: int,
        environment: Mapping[str, str] | None = None,
        leftovers: str = "",
    ) -> None:
        """Start `command`; it has `grace_s` to end by itself once this process is gone.

        `leftovers`: the files whose names begin so are removed then. Raises OSError, and then nothing runs.
        """
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            start_new_session=True,
            # SIGPIPE stays ignored: when this process is killed, the child must live on to stop in order.
            restore_signals=False,
        )
        try:
            self._guardian = subprocess.Popen(
                ["/bin/sh", "-c", GUARDIAN, "guardian", str(self.pid), str(grace_s), leftovers],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            self._kill_group()
            self._process.wait()
            raise

    @property
    def pid(self) -> int:
        """The process, which also leads its group."""
        return self._process.pid

    @property
    def stdout(self) -> IO[bytes] | None:
        return self._process.stdout

    @property
    def stderr(self) -> IO[bytes] | None:
        return self._process.stderr

    @property
    def status(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> int | None:
        """The exit status if it ends within `timeout_s`, else None."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def ask_to_end(self, number: signal.Signals, within_s: float) -> None:
        """Send the signal, unless it has ended, and wait."""
        if self.status is None:
            self._process.send_signal(number)
            self.wait(within_s)

    def kill(self) -> None:
        """End it and all of its group now, without waiting: a signal handler may call this."""
        self._guardian.kill()
        self._kill_group()

    def reap(self) -> None:
        """After `kill`: wait until both are gone."""
        self._process.wait()
        self._guardian.communicate()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
