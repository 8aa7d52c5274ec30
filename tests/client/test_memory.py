"""Shared memory: used by itself where it pays, given up where it is refused, and never left behind."""

import asyncio
import gc
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tritonclient.grpc

from ai102.client import AsyncClient, Client, DeadlineError, InferenceError, ServerFailedError
from tests.client.conftest import regions, wait_until
from tests.client.ways import LARGE, SLOW_FILES, Way, asks_slow
from tests.e2e.conftest import StartServer
from tests.servers import Server

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("nothing_leaks")]


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    return start_server({"slow": SLOW_FILES})


@pytest.fixture(scope="module")
def strict_server(start_server: StartServer) -> Server:
    restricted = ("--http-restricted-api=shared-memory:key=value", "--grpc-restricted-protocol=shared-memory:key=value")
    return start_server({"slow": SLOW_FILES}, extra_arguments=restricted)


def known_to(server: Server) -> list[str]:
    """The regions that the server has registered."""
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as triton:
        return sorted(triton.get_system_shared_memory_status().regions)


def test_a_large_tensor_goes_through_it_and_both_sides_are_cleaned(way: Way, server: Server) -> None:
    with way.connect(server) as client:
        for _ in range(3):
            answer = client.infer("slow", asks_slow(length=LARGE))
            assert np.array_equal(answer["y"], np.full(LARGE, LARGE - 2, np.float32))
        assert len(known_to(server)) == len(regions()) == 2  # the second is larger: it has room for the answer
    assert (known_to(server), regions()) == ([], set())


def test_a_small_tensor_stays_on_the_wire(way: Way, server: Server) -> None:
    with way.connect(server) as client:
        client.infer("slow", asks_slow(floats=100))
        assert known_to(server) == []


def test_a_large_answer_to_a_small_question_comes_through_it(way: Way, server: Server) -> None:
    with way.connect(server) as client:
        for _ in range(2):
            answer = client.infer("slow", asks_slow(floats=100, length=LARGE))
            assert np.array_equal(answer["y"], np.full(LARGE, 98, np.float32))
        assert len(known_to(server)) == 1


def test_insisted_on_it_carries_everything(way: Way, server: Server) -> None:
    with way.connect(server, shared_memory=True) as client:
        assert client.infer("slow", asks_slow(floats=100))["y"].tolist() == [98, 98, 98]
        assert len(known_to(server)) == 1


def test_turned_off_it_is_not_used(way: Way, server: Server) -> None:
    with way.connect(server, shared_memory=False) as client:
        client.infer("slow", asks_slow())
        assert known_to(server) == []


def test_an_answer_may_grow_and_shrink_from_call_to_call(way: Way, server: Server) -> None:
    lengths = [100_000, 200_000, 50_000, 3, 0, 200_000]
    with way.connect(server) as client:
        got = [client.infer("slow", asks_slow(length=length))["y"].shape for length in lengths]
    assert got == [(length,) for length in lengths]


def test_refused_the_wire_must_do(way: Way, strict_server: Server) -> None:
    with way.connect(strict_server) as client:
        for _ in range(2):
            assert client.infer("slow", asks_slow())["y"].tolist() == [LARGE - 2] * 3
        assert regions() == set()


def test_a_restricted_server_lets_in_who_has_the_key(way: Way, strict_server: Server) -> None:
    prefix = "triton-grpc-protocol-" if way.protocol == "grpc" else ""
    with way.connect(strict_server, shared_memory=True, headers={f"{prefix}key": "value"}) as client:
        assert client.infer("slow", asks_slow())["y"].tolist() == [LARGE - 2] * 3


def test_a_model_that_fails_gives_its_memory_back(way: Way, server: Server) -> None:
    with way.connect(server) as client:
        for _ in range(3):
            with pytest.raises(ServerFailedError, match="no such length"):
                client.infer("slow", asks_slow(length=-1))
        assert len(known_to(server)) == 1


def test_memory_of_a_call_that_was_given_up_is_never_lent_again(way: Way, server: Server) -> None:
    """The server may still write there: it is out of /dev/shm at once, and out of the server when that is through."""
    with way.connect(server) as client:
        client.infer("slow", asks_slow())  # the server knows its memory
        with pytest.raises(DeadlineError):
            client.infer("slow", asks_slow(seconds=1.5), timeout_s=0.3)
        (given_up,) = known_to(server)
        assert regions() == set()
        assert client.infer("slow", asks_slow(floats=LARGE))["y"].tolist() == [LARGE - 2] * 3
        assert len(set(known_to(server)) - {given_up}) == 1
        assert len(regions()) == 1
    wait_until(lambda: known_to(server) == [])


def test_what_was_given_up_is_swept_by_later_calls(way: Way, server: Server) -> None:
    with way.connect(server) as client:
        client.infer("slow", asks_slow())
        with pytest.raises(DeadlineError):
            client.infer("slow", asks_slow(seconds=1.5), timeout_s=0.3)
        (given_up,) = known_to(server)

        def is_swept() -> bool:
            client.infer("slow", asks_slow())
            return given_up not in known_to(server)

        wait_until(is_swept)
        assert len(known_to(server)) == 1


def test_no_region_is_left_after_calls_that_failed_were_given_up_or_answered(way: Way, server: Server) -> None:
    outcomes = set()
    with way.connect(server) as client:
        for turn in range(200):
            is_slow, is_wrong = turn % 10 == 0, turn % 7 == 0
            question = asks_slow(seconds=0.05 if is_slow else 0.0, length=-1 if is_wrong else 3, floats=1 << 16)
            try:
                client.infer("slow", question, timeout_s=0.02 if is_slow else 9.0)
            except InferenceError as err:
                outcomes.add(type(err))
    assert outcomes == {DeadlineError, ServerFailedError}
    wait_until(lambda: known_to(server) == [])


def test_no_room_in_memory_means_the_wire(way: Way, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operating system refuses, as it does in a container with 64 MB of /dev/shm."""

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with way.connect(server) as client:
        assert client.infer("slow", asks_slow())["y"].tolist() == [LARGE - 2] * 3


def test_a_cancelled_task_leaves_nothing_to_be_lent(way: Way, server: Server) -> None:
    url = f"{way.protocol}://{way.address(server)}"

    async def cancel() -> None:
        async with AsyncClient(url) as client:
            task = asyncio.create_task(client.infer("slow", asks_slow(seconds=1.5)))
            while not known_to(server):
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            (cancelled,) = known_to(server)
            assert regions() == set()
            await client.infer("slow", asks_slow())
            assert len(set(known_to(server)) - {cancelled}) == 1

    asyncio.run(cancel())
    wait_until(lambda: known_to(server) == [])


ENDS = {
    "unclosed": "",
    "raised": "raise SystemExit(3)",
    "forked": "os.fork() or os._exit(0)",
    "killed": "os.kill(os.getpid(), 9)",
}


@pytest.mark.parametrize("end", ENDS)
def test_a_process_leaves_nothing_however_it_ends(server: Server, end: str, way: Way) -> None:
    code = (
        "import os, sys\n"
        "from ai102.client import Client\n"
        "from tests.client.ways import asks_slow\n"
        "client = Client(sys.argv[1])\n"
        "client.infer('slow', asks_slow())\n"
        "print(os.getpid(), flush=True)\n" + ENDS[end]
    )
    url = f"{way.protocol}://{way.address(server)}"
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == {"raised": 3, "killed": -signal.SIGKILL}.get(end, 0), done.stderr
    assert "resource_tracker" not in done.stderr or end == "killed"
    wait_until(lambda: regions(int(done.stdout)) == set())
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as triton:
        triton.unregister_system_shared_memory()  # nobody else could


def test_a_client_that_is_forgotten_takes_its_memory_along(server: Server, way: Way) -> None:
    client = Client(f"{way.protocol}://{way.address(server)}")
    client.infer("slow", asks_slow())
    assert regions() != set()
    del client

    def is_gone() -> bool:
        gc.collect()
        return regions() == set()

    wait_until(is_gone)  # a thread of gRPC may hold the last answer a moment longer
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as triton:
        triton.unregister_system_shared_memory()
