"""What may be wrong out there: each has its own error, in time, and leaves nothing behind."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from ai102.client import (
    BadAnswerError,
    BadRequestError,
    DeadlineError,
    InferenceError,
    ModelNotFoundError,
    NoServerError,
    ServerFailedError,
    SharedMemoryError,
    WrongProtocolError,
)
from tests.client.ways import ECHO_FILES, GRPC_WAYS, HTTP_WAYS, SLOW_FILES, Way, asks_slow
from tests.e2e.conftest import StartServer
from tests.ports import free_port
from tests.servers import Server

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("nothing_leaks")]
TIMEOUT_S = 1.0
SLACK_S = 1.5  # for a busy machine; a call that waits for another reason waits far longer
X = {"x": np.ones((1, 2), np.float32)}


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    restricted = ("--http-restricted-api=shared-memory:key=value", "--grpc-restricted-protocol=shared-memory:key=value")
    return start_server({"echo": ECHO_FILES, "slow": SLOW_FILES}, extra_arguments=restricted)


def failure(way: Way, to: Server | str, ask: Callable[[Any], object], **options: Any) -> InferenceError:
    """What the call raised, which must come in time and say what to do in one line."""
    with way.connect(to, timeout_s=TIMEOUT_S, **options) as client:
        begin = time.monotonic()
        with pytest.raises(InferenceError) as caught:
            ask(client)
        assert time.monotonic() - begin < TIMEOUT_S + SLACK_S
    assert "\n" not in str(caught.value)
    return caught.value


def infer(client: Any) -> object:
    return client.infer("echo", X)


@contextlib.contextmanager
def listener(says: bytes | None) -> Iterator[str]:
    """A fake server at the far end of a socket: silent where `says` is None, else it says that and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                if says is None:
                    held.append(connection)
                    continue
                with connection, contextlib.suppress(OSError):
                    connection.sendall(says)
                    connection.recv(65536)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in held:
                connection.close()


def test_a_server_that_is_down(way: Way) -> None:
    err = failure(way, f"127.0.0.1:{free_port()}", infer)
    assert type(err) is NoServerError
    assert "Connection refused" in str(err)
    assert "ai102 serve" in str(err)


def test_a_host_that_is_not_known(way: Way) -> None:
    assert type(failure(way, "no-such-host.invalid:8000", infer)) in (NoServerError, DeadlineError)


def test_a_socket_that_says_nothing(way: Way) -> None:
    with listener(None) as address:
        err = failure(way, address, infer)
    assert (type(err), err.model) == (DeadlineError, "echo")
    assert "within 1 s" in str(err)


@pytest.mark.parametrize("says", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\xff\xfe\x01garbage without an end\r\n\r\n"])
def test_a_port_where_something_else_talks(way: Way, says: bytes) -> None:
    with listener(says) as address:
        assert type(failure(way, address, infer)) is WrongProtocolError


def test_the_other_protocols_port(way: Way, server: Server) -> None:
    other = server.grpc_url if way.protocol == "http" else server.http_url
    err = failure(way, other, infer)
    assert type(err) is WrongProtocolError
    assert ("grpc://" if way.protocol == "http" else "http://") in str(err)


def test_the_port_for_metrics(way: Way, server: Server) -> None:
    assert type(failure(way, server.metrics_url, infer)) is WrongProtocolError


@pytest.mark.parametrize("way", HTTP_WAYS, ids=str)
def test_a_proxy_that_gave_up_first_is_shown_with_its_sentence(way: Way) -> None:
    body = b"<html><body><h1>504 Gateway Time-out</h1>\nThe server didn't respond in time.\n</body></html>"
    says = b"HTTP/1.1 504 Gateway Time-out\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with listener(says) as address:
        err = failure(way, address, infer)
    assert (type(err), err.status) == (DeadlineError, "504")
    assert "The server didn't respond in time" in str(err)
    assert "within 1 s" not in str(err)


@pytest.mark.parametrize("way", GRPC_WAYS, ids=str)
def test_a_proxy_that_gave_up_first_over_grpc_is_shown_with_its_sentence(way: Way) -> None:
    with grpc_fake([], refusal=(grpc.StatusCode.DEADLINE_EXCEEDED, "the upstream said nothing")) as address:
        err = failure(way, address, infer)
    assert (type(err), err.status) == (DeadlineError, "DEADLINE_EXCEEDED")
    assert "the upstream said nothing" in str(err)


@pytest.mark.parametrize("way", GRPC_WAYS, ids=str)
def test_a_models_words_are_not_taken_for_the_connections(way: Way) -> None:
    sentence = "the camera's stream: Connection refused, recvmsg failed, handshake with http1.x"
    with grpc_fake([], refusal=(grpc.StatusCode.INTERNAL, sentence)) as address:
        err = failure(way, address, infer)
    assert type(err) is ServerFailedError
    assert sentence in str(err)


def test_a_model_that_is_not_there(way: Way, server: Server) -> None:
    err = failure(way, server, lambda client: client.infer("nobody", X))
    assert (type(err), err.model) == (ModelNotFoundError, "nobody")
    assert "ai102 models" in str(err)


def test_a_version_that_is_not_there(way: Way, server: Server) -> None:
    assert type(failure(way, server, lambda client: client.infer("echo", X, version="7"))) is ModelNotFoundError


def test_an_input_that_is_not_the_models(way: Way, server: Server) -> None:
    err = failure(way, server, lambda client: client.infer("echo", {"y": X["x"]}))
    assert (type(err), err.status) == (BadRequestError, "400" if way.protocol == "http" else "INVALID_ARGUMENT")


def test_a_server_slower_than_the_deadline(way: Way, server: Server) -> None:
    slow = asks_slow(seconds=2.5, floats=100)
    assert type(failure(way, server, lambda client: client.infer("slow", slow))) is DeadlineError


def test_a_deadline_of_one_call_goes_before_the_clients(way: Way, server: Server) -> None:
    slow = asks_slow(seconds=0.6, floats=100)
    err = failure(way, server, lambda client: client.infer("slow", slow, timeout_s=0.1))
    assert type(err) is DeadlineError
    assert "within 0.1 s" in str(err)


def test_shared_memory_that_is_insisted_on_and_refused(way: Way, server: Server) -> None:
    err = failure(way, server, infer, shared_memory=True)
    assert (type(err), err.model) == (SharedMemoryError, "echo")
    assert "leave shared_memory out" in str(err)


def test_shared_memory_with_a_server_elsewhere(way: Way) -> None:
    with pytest.raises(SharedMemoryError, match="one server on this host"):
        way.connect("192.0.2.7:8000", shared_memory=True)


def http_says(head: bytes, body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 200 OK\r\n" + head + b"Content-Length: %d\r\n\r\n" % size + body


def http_answer(outputs: list[dict[str, Any]], tail: bytes, length: int | None = None) -> bytes:
    text = json.dumps({"model_name": "echo", "model_version": "1", "outputs": outputs}).encode()
    return http_says(b"Inference-Header-Content-Length: %d\r\n" % len(text), text + tail, length)


def doubled(size: int) -> list[dict[str, Any]]:
    return [{"name": "doubled", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": size}}]


@contextlib.contextmanager
def grpc_fake(
    outputs: list[tuple[str, list[int], bytes]], refusal: tuple[grpc.StatusCode, str] | None = None
) -> Iterator[str]:
    """A fake Triton over gRPC that answers every inference alike."""

    class Fake(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
        def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
            if refusal is not None:
                context.abort(*refusal)
            response = pb.ModelInferResponse(model_name="echo", model_version="1")
            for name, shape, data in outputs:
                response.outputs.add(name=name, datatype="FP32", shape=shape)
                response.raw_output_contents.append(data)
            return response

    fake = grpc.server(futures.ThreadPoolExecutor(1))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Fake(), fake)
    port = fake.add_insecure_port("127.0.0.1:0")
    fake.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        fake.stop(None).wait()


WRONG = {
    "cut": ([("doubled", [1, 2], b"\0" * 4)], http_answer(doubled(8), b"\0" * 4)),
    "another shape": ([("doubled", [1, 3], b"\0" * 8)], http_answer(doubled(12), b"\0" * 12)),
    "another output": ([("y", [1, 2], b"\0" * 8)], http_answer([{**doubled(8)[0], "name": "y"}], b"\0" * 8)),
    "nothing": ([], http_answer([], b"")),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_answer_of_the_wrong_shape(way: Way, case: str) -> None:
    outputs, said = WRONG[case]
    with listener(said) if way.protocol == "http" else grpc_fake(outputs) as address:
        err = failure(way, address, lambda client: client.infer("echo", X, ("doubled",)))
    assert (type(err), err.model) == (BadAnswerError, "echo")


@pytest.mark.parametrize("said", [http_says(b"", b"<html>hello</html>"), http_says(b"", b"[1, 2]")])
@pytest.mark.parametrize("way", HTTP_WAYS, ids=str)
def test_an_answer_over_http_that_is_not_tritons(said: bytes, way: Way) -> None:
    with listener(said) as address:
        assert type(failure(way, address, infer)) is BadAnswerError


@pytest.mark.parametrize("way", HTTP_WAYS, ids=str)
def test_a_connection_that_ends_in_the_middle_of_an_answer(way: Way) -> None:
    with listener(http_answer(doubled(8), b"\0" * 4, length=1000)) as address:
        err = failure(way, address, infer)
    assert type(err) is NoServerError
    assert "the connection broke" in str(err)


@pytest.mark.parametrize("way", HTTP_WAYS, ids=str)
def test_an_answer_that_drips_does_not_outlast_the_deadline(way: Way) -> None:
    """A limit on each wait would begin anew with every byte."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not stop.wait(0.05):
                    connection.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            address = f"127.0.0.1:{server.getsockname()[1]}"
            assert type(failure(way, address, infer)) is DeadlineError
        finally:
            stop.set()
            thread.join()
