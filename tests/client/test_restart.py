"""Servers that end, come back or are one of several while a client is at work."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ai102.client import InferenceError, NoServerError, Retry
from tests.client.conftest import wait_until
from tests.client.ways import ECHO_FILES, SLOW_FILES, Way, asks_slow, runs_begun
from tests.e2e.conftest import write_repository
from tests.servers import Server

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.usefixtures("nothing_leaks")]
X = np.ones((1, 2), np.float32)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("restart") / "repository"
    return write_repository(folder, {"echo": ECHO_FILES, "slow": SLOW_FILES})


def make(repository: Path, like: Server | None = None) -> Server:
    """A server on free ports, or on those of another."""
    if like is None:
        return Server(repository, http_port=0, grpc_port=0, metrics_port=0)
    ports = [int(url.rpartition(":")[2]) for url in (like.http_url, like.grpc_url, like.metrics_url)]
    return Server(repository, http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])


@contextlib.contextmanager
def in_flight(client: Any, **question: Any) -> Iterator[list[BaseException]]:
    """A call in a thread of its own; what it raised is in the list once the block has ended."""
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            client.infer("slow", asks_slow(**question))
        except BaseException as err:  # noqa: BLE001 - told to the test
            raised.append(err)

    caller = threading.Thread(target=ask)
    caller.start()
    yield raised
    caller.join()


@pytest.mark.alone  # the second server takes the ports of the first, which another test might get meanwhile
def test_a_server_that_came_back_is_asked_again_and_calls_in_flight_are_told(way: Way, repository: Path) -> None:
    first = make(repository)
    first.start()
    try:
        with way.connect(first, retry=Retry(tries=1), timeout_s=20.0) as client:
            client.infer("slow", asks_slow())  # through shared memory, which the next server knows nothing of
            begun = runs_begun(repository)
            with in_flight(client, seconds=15.0) as raised:
                wait_until(lambda: runs_begun(repository) > begun)
                first.kill()
            assert [type(err) for err in raised] == [NoServerError]
            assert isinstance(raised[0], NoServerError)
            assert raised[0].was_sent
            with pytest.raises(NoServerError, match=r"Connection (refused|reset by peer)|connection broke"):
                client.infer("slow", asks_slow())
            first.stop(at_once=True)
            with make(repository, like=first):
                wait_until(lambda: answers(client))
                assert client.infer("slow", asks_slow())["y"].tolist() == [asks_slow()["x"].size - 2] * 3
    finally:
        first.stop(at_once=True)


def answers(client: Any) -> bool:
    try:
        client.models()
    except InferenceError:
        return False
    return True


def test_one_of_two_servers_killed_under_load_costs_no_call(way: Way, repository: Path) -> None:
    with make(repository) as stays, make(repository) as dies:
        address = f"{way.address(stays)},{way.address(dies)}"
        failures: list[BaseException] = []
        done = [0] * 4
        stop = threading.Event()

        def ask(number: int) -> None:
            try:
                with way.connect(address, timeout_s=20.0) as client:
                    while not stop.is_set():
                        client.infer("echo", {"x": X})
                        done[number] += 1
            except BaseException as err:  # noqa: BLE001 - told to the test
                failures.append(err)

        callers = [threading.Thread(target=ask, args=(number,)) for number in range(len(done))]
        for caller in callers:
            caller.start()
        try:
            wait_until(lambda: min(done) > 20 or bool(failures))
            os.killpg(dies.pid, signal.SIGKILL)
            before = list(done)
            wait_until(lambda: all(now > then + 50 for now, then in zip(done, before, strict=True)) or bool(failures))
        finally:
            stop.set()
            for caller in callers:
                caller.join()
        assert failures == []
