"""No call outlives its deadline, whatever it waits for; and a hung server costs little where there is another."""

import contextlib
import math
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ai102.client import DeadlineError, InferenceError, probes
from ai102.client.addresses import REST_S
from tests.client.test_bad_input import SLACK_S, failure, infer, listener
from tests.client.ways import ECHO_FILES, HTTP_WAYS, Way
from tests.e2e.conftest import StartServer
from tests.servers import Server

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("nothing_leaks")]
X = {"x": np.ones((1, 2), np.float32)}


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    return start_server({"echo": ECHO_FILES})


@pytest.mark.parametrize("way", HTTP_WAYS, ids=str)
def test_a_name_server_that_says_nothing(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = threading.Event()
    real = socket.getaddrinfo

    def slow(host: Any, *args: Any, **options: Any) -> Any:
        if host == "slow.example":
            resolved.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "no name server answers")
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with way.connect("slow.example:8000", timeout_s=0.3) as client:
        began = time.monotonic()
        with pytest.raises(DeadlineError):
            client.models()
        assert time.monotonic() - began < 0.3 + SLACK_S
        resolved.set()


@contextlib.contextmanager
def hangs_up_late(after_s: float) -> Iterator[str]:
    """Ends the first connection after so long, and leaves those of the probes unanswered."""
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as held:

        def serve() -> None:
            first, _ = server.accept()
            first.settimeout(after_s)
            with first, contextlib.suppress(TimeoutError):
                while first.recv(65536):
                    pass
            with contextlib.suppress(OSError):
                while True:
                    held.enter_context(server.accept()[0])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_the_probes_after_a_failure_end_with_the_deadline(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "PROBE_TIMEOUT_S", 30.0)
    timeout_s = 3.0
    with hangs_up_late(after_s=0.8 * timeout_s) as address, way.connect(address, timeout_s=timeout_s) as client:
        began = time.monotonic()
        with pytest.raises(InferenceError):
            infer(client)
        assert time.monotonic() - began < timeout_s + SLACK_S


@pytest.mark.slow
@pytest.mark.parametrize("way", HTTP_WAYS, ids=str)
def test_a_deadline_above_five_seconds_is_not_rounded_up_to_a_whole_second(way: Way) -> None:
    with listener(None) as address, way.connect(address) as client:
        now = time.monotonic()
        whole = math.ceil(now + 5.1)
        with pytest.raises(DeadlineError):
            client.infer("echo", X, timeout_s=whole + 0.05 - now)
        assert whole < time.monotonic() < whole + 0.95


def test_of_two_servers_the_hung_one_is_met_once_in_each_rest_period(way: Way, server: Server) -> None:
    timeout_s = 2.0
    with listener(None) as hung, way.connect(f"{hung},{way.address(server)}", timeout_s=timeout_s) as client:
        began, meetings = time.monotonic(), 0
        for _ in range(30):
            call_began = time.monotonic()
            assert client.infer("echo", X)["doubled"].tolist() == [[2.0, 2.0]]
            meetings += time.monotonic() - call_began >= timeout_s / 2
        assert meetings <= 1 + (time.monotonic() - began) / REST_S


def test_a_server_that_hangs_alone_is_asked_every_time(way: Way) -> None:
    with listener(None) as address:
        for _ in range(2):
            assert type(failure(way, address, infer)) is DeadlineError
