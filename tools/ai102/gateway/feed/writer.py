"""The thread that keeps state.json up to date, by the policy that the gateway has."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from ai102.contract import Contract
from ai102.gateway.feed import state
from ai102.gateway.policy import Gateway


class Writer:
    """One thread at a time; what the one before knew is in the file that the next one begins with."""

    def __init__(self, contract: Contract, path: Path, log: Callable[[str], None]) -> None:
        self._contract, self._path, self._log = contract, path, log
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._defect: BaseException | None = None

    def follow(self, gateway: Gateway) -> None:
        """Write by this policy from now on."""
        self.stop()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run,
            args=(gateway, self._stop),
            name="state",
            daemon=True,
        )
        self._thread.start()

    def check(self) -> None:
        """Raise what ended it by itself: a gateway that no longer hears of revocations must not stay open."""
        if self._defect is not None:
            raise RuntimeError("the state of the gateway is written no more, so it closes") from self._defect

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
            self._thread = None

    def _run(self, gateway: Gateway, stop: threading.Event) -> None:
        try:
            state.sync(gateway, self._contract, self._path, stop=stop, log=self._log)
        except BaseException as err:  # noqa: BLE001 - raised again in the main thread
            self._defect = err
