"""One request to one server, or to both in turns, and what came back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai102.client import Client, InferenceError, ModelNotFoundError, NoServerError, RefusedError, Retry, bytes_array
from ai102.client.errors import TlsError, WrongProtocolError
from ai102.client.tls import Tls
from ai102.errors import UserError
from ai102.judging.record import Call, Pair, Reply
from ai102.judging.subject import SEED, Target
from ai102_runtime.recording import GATES_OWN, HEADER

# A call that takes so many times its goal is as bad as one that fails.
TIMES_GOAL, LEAST_TIMEOUT_S, MOST_TIMEOUT_S = 20, 2.0, 30.0
FIRST_TIMEOUT_S = 30.0  # a first call may build what later ones use


class Server:
    """A server that is asked; each call is tried once, since a retry would hide a failure."""

    def __init__(self, url: str, headers: Mapping[str, str], tls: Tls | None) -> None:
        self.url = url
        # A server that records live answers leaves these calls out.
        headers = {**headers, HEADER: GATES_OWN}
        self.client = Client(url, retry=Retry(tries=1), shared_memory=False, headers=headers, tls=tls)

    def ask(self, model: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], timeout_s: float) -> Reply:
        began = time.perf_counter()
        try:
            arrays = self.client.infer(model, inputs, outputs, timeout_s=timeout_s)
        except InferenceError as err:
            return Reply(None, (time.perf_counter() - began) * 1000, str(err).replace("\n", " "), type(err).__name__)
        return Reply(arrays, (time.perf_counter() - began) * 1000)

    def connect(self) -> None:
        """So that the first call is not also the one that connects. Raises UserError where no server answers."""
        try:
            self.client.version()
        except (NoServerError, WrongProtocolError, TlsError) as err:
            raise UserError(str(err)) from err
        except InferenceError:
            return  # a gateway need not tell this caller

    def check(self, target: Target, item: bytes) -> bool:
        """Whether it serves the pipeline. Raises UserError where it does not answer, or not to this caller."""
        try:
            inputs = {target.input: bytes_array([item])}
            self.client.infer(target.model, inputs, target.outputs, timeout_s=FIRST_TIMEOUT_S)
        except ModelNotFoundError:
            return False
        except (NoServerError, RefusedError, WrongProtocolError, TlsError) as err:
            raise UserError(str(err)) from err
        except InferenceError:
            return True  # what it answers is judged later
        return True

    def close(self) -> None:
        self.client.close()


class Asker:
    """Asks the canary, and the version in service if there is one, the same things."""

    def __init__(self, canary: Server, primary: Server | None) -> None:
        self.canary, self.primary = canary, primary
        self.calls = 0  # to the canary
        self._random = Random(SEED)

    def connect(self) -> None:
        """Raises UserError where one of the two does not answer."""
        for server in self._in_turn():
            server.connect()

    def pair(self, call: Call, items: Sequence[bytes]) -> Pair:
        """One after the other, in random order: what else the machine does then slows both alike."""
        return self.pair_of(call, {call.target.input: bytes_array(items)})

    def pair_of(self, call: Call, inputs: Mapping[str, NDArray[Any]]) -> Pair:
        timeout_s = FIRST_TIMEOUT_S if call.purpose == "first" else timeout_of(call.target)
        replies = {}
        for server in self._in_turn():
            replies[server] = server.ask(call.target.model, inputs, call.target.outputs, timeout_s)
        self.calls += 1
        return Pair(call, replies[self.canary], replies[self.primary] if self.primary else None)

    def crowd(self, calls: Sequence[Call], items: Sequence[bytes], pool: ThreadPoolExecutor) -> list[Pair]:
        """All calls at once to one server, then to the other; each has its own sample."""
        replies = {}
        for server in self._in_turn():

            def ask(call: Call, item: bytes, server: Server = server) -> Reply:
                inputs = {call.target.input: bytes_array([item])}
                return server.ask(call.target.model, inputs, call.target.outputs, timeout_of(call.target))

            replies[server] = list(pool.map(ask, calls, items))
        self.calls += len(calls)
        canaries = replies[self.canary]
        primaries: Sequence[Reply | None] = replies[self.primary] if self.primary else [None] * len(calls)
        return [Pair(*row) for row in zip(calls, canaries, primaries, strict=True)]

    def _in_turn(self) -> list[Server]:
        servers = [server for server in (self.canary, self.primary) if server is not None]
        return servers if self._random.random() < 0.5 else servers[::-1]


def timeout_of(target: Target) -> float:
    return float(np.clip(TIMES_GOAL * target.goal_ms / 1000, LEAST_TIMEOUT_S, MOST_TIMEOUT_S))
