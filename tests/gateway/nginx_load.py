"""Many callers at once through a door, who count what became of their requests."""

from __future__ import annotations

import http.client
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread

import grpc

from tests.gateway.attackers import Target
from tests.gateway.attacks_over_grpc import INFER, message
from tests.gateway.attacks_over_rest import BODY

CALLERS = 4


class Load:
    """`outcomes` counts by status, or by what went wrong."""

    def __init__(self, target: Target, protocol: str) -> None:
        self.target = target
        self.outcomes: Counter[str] = Counter()
        self._call = {"grpc": self._over_grpc, "rest": self._over_rest}[protocol]
        self._stop, self._lock = Event(), Lock()

    @property
    def done(self) -> int:
        return self.outcomes.total()

    @property
    def failed(self) -> dict[str, int]:
        return {outcome: count for outcome, count in self.outcomes.items() if outcome != "ok"}

    def wait_for(self, more: int) -> None:
        """Until so many more requests have their answer."""
        wanted, ends = self.done + more, time.monotonic() + 30
        while self.done < wanted:
            assert time.monotonic() < ends, f"only {self.outcomes} within 30 s"
            time.sleep(0.01)

    @contextmanager
    def running(self) -> Iterator[Load]:
        threads = [Thread(target=self._call, daemon=True) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _count(self, outcome: str) -> None:
        with self._lock:
            self.outcomes[outcome] += 1

    def _over_grpc(self) -> None:
        credentials = grpc.ssl_channel_credentials(self.target.ca.read_bytes())
        options = [("grpc.use_local_subchannel_pool", 1)]
        metadata = [("authorization", f"Bearer {self.target.token}")]
        sent = message("echo", 1000)
        with grpc.secure_channel(self.target.grpc, credentials, options) as channel:
            call = channel.unary_unary(INFER)
            while not self._stop.is_set():
                try:
                    call(sent, metadata=metadata, timeout=20)
                    self._count("ok")
                except grpc.RpcError as err:
                    self._count(f"{err.code().name}: {err.details()}")

    def _over_rest(self) -> None:
        context = ssl.create_default_context(cafile=str(self.target.ca))
        host, _, port = self.target.rest.rpartition(":")
        connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=20)
        headers = {"Authorization": f"Bearer {self.target.token}", "Content-Type": "application/json"}
        while not self._stop.is_set():
            try:
                connection.request("POST", "/v2/models/echo/infer", BODY, headers)
                answer = connection.getresponse()
                answer.read()
                self._count("ok" if answer.status == 200 else str(answer.status))
            except (OSError, http.client.HTTPException) as err:
                self._count(repr(err))
                connection.close()


def calls_in_turn(target: Target, count: int) -> None:
    """So many calls over one connection; the first that fails raises."""
    credentials = grpc.ssl_channel_credentials(target.ca.read_bytes())
    with grpc.secure_channel(target.grpc, credentials) as channel:
        for _ in range(count):
            channel.unary_unary(INFER)(
                message("echo"), metadata=[("authorization", f"Bearer {target.token}")], timeout=9
            )
