"""What the client promises of answers, over both protocols, by threads and by asyncio."""

import asyncio
import json
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from ai102.client import AsyncClient, BadRequestError, Client, RefusedError
from tests.client.ways import ECHO_FILES, EXPLICIT, FORWARD, Way
from tests.e2e.conftest import StartServer
from tests.servers import Server

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("nothing_leaks")]
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
X = np.arange(20, dtype=np.float32).reshape(10, 2)


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    return start_server({"echo": ECHO_FILES}, extra_arguments=FORWARD)


def told(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(row) for row in answer["told"].reshape(-1)]


def test_more_rows_than_a_batch_are_split_and_joined_in_order(way: Way, server: Server) -> None:
    with way.connect(server) as client:
        answer = client.infer("echo", {"x": X}, request_id="q")
    assert np.array_equal(answer["doubled"], 2 * X)
    assert [(row["id"], row["rows"]) for row in told(answer)] == [("q.0", 4)] * 4 + [("q.1", 4)] * 4 + [("q.2", 2)] * 2


def test_request_id_trace_headers_and_parameters_reach_the_model(way: Way, server: Server) -> None:
    with way.connect(server, headers={"x-team": "search"}) as client:
        answer = client.infer(
            "echo",
            {"x": X[:1]},
            request_id="q-7",
            traceparent=TRACEPARENT,
            headers={"x-user": "ann"},
            parameters={"share": 0.5, "who": "me"},
        )
    (seen,) = told(answer)
    wanted = {"id": "q-7", "traceparent": TRACEPARENT, "x-team": "search", "x-user": "ann", "share": 0.5, "who": "me"}
    assert seen.items() >= wanted.items()


def test_outputs_come_as_asked_for_and_in_that_order(way: Way, server: Server) -> None:
    with way.connect(server) as client:
        assert list(client.infer("echo", {"x": X[:1]}, ("told", "doubled"))) == ["told", "doubled"]
        assert list(client.infer("echo", {"x": X[:1]}, ("doubled",))) == ["doubled"]


def test_models_and_statistics_are_told(way: Way, server: Server) -> None:
    with way.connect(server) as client:
        client.infer("echo", {"x": X[:1]})
        assert [(row.name, row.state) for row in client.models()] == [("echo", "READY")]
        assert client.statistics("echo")[0]["inference_count"] > 0


@pytest.fixture(scope="module")
def explicit_server(start_server: StartServer) -> Server:
    return start_server({"echo": ECHO_FILES}, extra_arguments=EXPLICIT)


def test_a_model_is_loaded_with_another_config_and_with_its_own_again(way: Way, explicit_server: Server) -> None:
    with way.connect(explicit_server) as client:
        own = client.config("echo")
        other = type(own)()
        other.CopyFrom(own)
        other.max_batch_size = 2
        client.load("echo", other)
        assert client.config("echo").max_batch_size == 2
        client.load("echo", own)
        assert client.config("echo") == own


def test_a_model_is_loaded_from_files_that_are_in_no_repository(way: Way, explicit_server: Server) -> None:
    with way.connect(explicit_server) as client:
        config = client.config("echo")
        config.name = name = f"sent_{way.protocol}_{way.is_async}"
        client.load(name, config, {"1/model.py": ECHO_FILES["1/model.py"].encode()})
        assert np.array_equal(client.infer(name, {"x": X[:1]})["doubled"], 2 * X[:1])


def test_a_config_that_the_server_refuses_leaves_the_model_as_it_was(way: Way, explicit_server: Server) -> None:
    with way.connect(explicit_server) as client:
        with pytest.raises(BadRequestError, match="load failed for model 'echo'"):
            client.load("echo", {"name": "echo", "backend": "nope"})
        assert np.array_equal(client.infer("echo", {"x": X[:1]})["doubled"], 2 * X[:1])


def test_the_servers_version_is_read(way: Way, server: Server) -> None:
    with way.connect(server) as client:
        assert client.version().startswith("2.")


def test_loading_where_it_is_not_allowed_is_refused(way: Way, server: Server) -> None:
    with way.connect(server) as client, pytest.raises(RefusedError, match="not allowed"):
        client.load("echo")


@pytest.mark.parametrize("headers", [{"a b": "1"}, {"x": "1\r\ny: 2"}, {"Content-Length": "7"}, {"x": "für"}])
def test_a_header_that_would_break_the_protocol_is_refused(way: Way, server: Server, headers: dict[str, str]) -> None:
    with way.connect(server) as client, pytest.raises(BadRequestError, match="header"):
        client.infer("echo", {"x": X[:1]}, headers=headers)


def test_a_closed_client_says_so(way: Way, server: Server) -> None:
    with way.connect(server) as client:
        client.close()
        client.close()
        with pytest.raises(RuntimeError, match="closed"):
            client.models()


def test_many_callers_share_one_client(way: Way, server: Server) -> None:
    """Each gets its own answer, whether small or through shared memory."""
    wanted = [np.full((1, 3 if n % 2 else 70_000), n, np.float32) for n in range(16)]
    got: dict[int, Any] = {}
    url = f"{way.protocol}://{way.address(server)}"
    if way.is_async:

        async def ask_all() -> None:
            async with AsyncClient(url) as client:
                for _ in range(3):
                    answers = await asyncio.gather(*(client.infer("echo", {"x": x}) for x in wanted))
                    got.update(enumerate(answers))

        asyncio.run(ask_all())
    else:
        with Client(url) as client:

            def ask(n: int) -> None:
                for _ in range(3):
                    got[n] = client.infer("echo", {"x": wanted[n]})

            callers = [threading.Thread(target=ask, args=(n,)) for n in range(len(wanted))]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
    assert [n for n, x in enumerate(wanted) if not np.array_equal(got[n]["doubled"], 2 * x)] == []


def test_connections_are_kept_for_the_next_call(way: Way, server: Server) -> None:
    from tests.client.conftest import sockets

    with way.connect(server) as client:
        client.infer("echo", {"x": X[:1]})
        before = sockets()
        for _ in range(5):
            client.infer("echo", {"x": X[:1]})
        assert sockets() == before
