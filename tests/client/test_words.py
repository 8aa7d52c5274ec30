"""The real tritonserver and the real gRPC library say each sentence that the client tells apart."""

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent import futures
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from ai102.client.calls import Call, Describe, Infer, Load, Region, Register, Statistics, Unregister
from ai102.client.grpc.messages import grpc_request
from ai102.client.http.messages import http_request
from ai102.client.tensors import raw_from_array
from ai102.client.words import TABLE, Meaning, http_status_in, meaning_of
from tests.client.conftest import wait_until
from tests.client.test_bad_input import listener
from tests.client.ways import ECHO_FILES, EXPLICIT, SLOW_FILES, asks_slow, runs_begun
from tests.e2e.conftest import StartServer
from tests.ports import free_port
from tests.servers import Server

pytestmark = pytest.mark.e2e
TIMEOUT_S = 20.0
SIZE = 1 << 16
X = raw_from_array("x", np.ones((1, 2), np.float32))
NOWHERE = Region("nowhere", 0, 8)


class Said(NamedTuple):
    status: str
    sentence: str


class Asker:
    """Sends a call as it is, and gives the errors over both protocols."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._channel = grpc.insecure_channel(server.grpc_url)
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def errors(self, call: Call) -> list[Said]:
        return [said for said in (self.over_http(call), self.over_grpc(call)) if said is not None]

    def over_http(self, call: Call) -> Said | None:
        request = http_request(call)
        connection = http.client.HTTPConnection(self.server.http_url, timeout=TIMEOUT_S)
        connection.request(request.method, request.path, b"".join(request.parts), dict(request.headers))
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return None if answer.status == 200 else Said(str(answer.status), json.loads(body)["error"])

    def over_grpc(self, call: Call) -> Said | None:
        request = grpc_request(call)
        try:
            getattr(self.stub, request.method)(request.message, timeout=TIMEOUT_S)
        except grpc.RpcError as err:
            return Said(err.code().name, err.details())
        return None

    def close(self) -> None:
        self._channel.close()


def asked(server: Server) -> Iterator[Asker]:
    asker = Asker(server)
    yield asker
    asker.close()


@pytest.fixture(scope="module")
def explicit(start_server: StartServer) -> Iterator[Asker]:
    files = {"echo": ECHO_FILES, "slow": SLOW_FILES, "spare": ECHO_FILES}
    yield from asked(start_server(files, extra_arguments=EXPLICIT))


@pytest.fixture(scope="module")
def closed(start_server: StartServer) -> Iterator[Asker]:
    """A server without model control, whose shared memory is restricted."""
    extra = ("--grpc-restricted-protocol=shared-memory:key=value",)
    yield from asked(start_server({"echo": ECHO_FILES}, extra_arguments=extra))


@pytest.fixture
def region(explicit: Asker) -> Iterator[Register]:
    memory = SharedMemory(create=True, size=SIZE)
    register = Register("words", f"/{memory.name.lstrip('/')}", SIZE)
    assert explicit.over_http(register) is None
    yield register
    wait_until(lambda: explicit.over_http(Unregister("words")) is None)
    memory.close()
    memory.unlink()


def assert_meaning(said: list[Said], meaning: Meaning, count: int = 2) -> None:
    assert [(one, meaning_of(*one)) for one in said] == [(one, meaning) for one in said]
    assert len(said) == count


@pytest.mark.parametrize(
    "call",
    [Infer("nobody", (X,)), Infer("echo", (X,), version="7"), Describe("nobody"), Load("nobody"), Statistics("nobody")],
    ids=["no model", "no version", "its metadata", "its load", "its statistics"],
)
def test_a_model_that_is_not_there(explicit: Asker, call: Call) -> None:
    if isinstance(call, Load):  # the same sentence stands for a config that is no JSON: it means nothing by itself
        assert [meaning_of(*said) for said in explicit.errors(call)] == [None, None]
    else:
        assert_meaning(explicit.errors(call), Meaning.NO_MODEL)


def test_a_model_that_was_unloaded(explicit: Asker) -> None:
    explicit.stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="spare"), timeout=TIMEOUT_S)
    wait_until(lambda: len(explicit.errors(Infer("spare", (X,)))) == 2)
    assert_meaning(explicit.errors(Infer("spare", (X,))), Meaning.NO_MODEL)


def test_a_server_that_loads_by_itself(closed: Asker) -> None:
    assert_meaning(closed.errors(Load("echo")), Meaning.NO_EXPLICIT_CONTROL)


def test_an_api_that_is_restricted(closed: Asker) -> None:
    said = closed.over_grpc(Register("words", "/words", SIZE))
    assert said is not None
    assert_meaning([said], Meaning.RESTRICTED, 1)


def test_a_region_that_is_registered_already(explicit: Asker, region: Register) -> None:
    assert_meaning(explicit.errors(region), Meaning.REGION_IS_REGISTERED)


@pytest.mark.parametrize(
    "call",
    [Infer("echo", (X,), inputs_at={"x": NOWHERE}), Infer("echo", (X,), ("doubled",), outputs_at={"doubled": NOWHERE})],
    ids=("input", "output"),
)
def test_a_region_that_the_server_does_not_have(explicit: Asker, call: Call) -> None:
    assert_meaning(explicit.errors(call), Meaning.REGION_IS_UNKNOWN)


def test_an_output_that_is_larger_than_its_place(explicit: Asker, region: Register) -> None:
    call = Infer("echo", (X,), ("doubled",), outputs_at={"doubled": Region("words", 0, 4)})
    assert_meaning(explicit.errors(call), Meaning.REGION_IS_TOO_SMALL)


def test_a_region_that_the_server_uses(explicit: Asker, region: Register) -> None:
    slow = raw_from_array("x", asks_slow(seconds=1.0, floats=4)["x"])
    request = grpc_request(Infer("slow", (slow,), ("y",), outputs_at={"y": Region("words", 0, 64)}))
    begun = runs_begun(explicit.server.repository)
    under_way = explicit.stub.ModelInfer.future(request.message, timeout=TIMEOUT_S)
    wait_until(lambda: runs_begun(explicit.server.repository) > begun)
    assert_meaning(explicit.errors(Unregister("words")), Meaning.REGION_IS_IN_USE)
    under_way.result()


def test_a_region_that_is_unregistered_twice_is_no_error(explicit: Asker) -> None:
    assert explicit.errors(Unregister("nowhere")) == []


class Service(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """A server of gRPC's own library, which takes small messages only."""

    def ServerLive(self, request: object, context: object) -> object:  # noqa: N802 - gRPC's name
        return pb.ServerLiveResponse(live=True)


@pytest.fixture(scope="module")
def small() -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(1), options=[("grpc.max_receive_message_length", 1000)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def said_by_grpc(address: str, method: str = "/inference.GRPCInferenceService/ServerLive", size: int = 0) -> Said:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
        with pytest.raises(grpc.RpcError) as caught:
            call(bytes(size), timeout=TIMEOUT_S)
        return Said(caught.value.code().name, caught.value.details())


def test_a_message_that_is_too_large(small: str) -> None:
    assert_meaning([said_by_grpc(small, size=2000)], Meaning.TOO_LARGE, 1)


def test_a_service_that_is_another(small: str) -> None:
    assert_meaning([said_by_grpc(small, "/another.Service/Method")], Meaning.ANOTHER_SERVICE, 1)


def test_nobody_at_the_address() -> None:
    assert_meaning([said_by_grpc(f"127.0.0.1:{free_port()}")], Meaning.NOT_CONNECTED, 1)


def test_a_host_that_is_not_known() -> None:
    assert_meaning([said_by_grpc("no-such-host.invalid:1")], Meaning.NOT_CONNECTED, 1)


def test_a_server_of_http_1() -> None:
    with listener(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        assert_meaning([said_by_grpc(address)], Meaning.ANOTHER_PROTOCOL, 1)


# An empty SETTINGS frame, with which a connection of HTTP/2 begins, and the same with the flag ACK.
SETTINGS, ACKNOWLEDGED = b"\0\0\0\4\0\0\0\0\0", b"\0\0\0\4\1\0\0\0\0"
PREFACE_BYTES, FRAME_HEAD_BYTES, HEADERS = 24, 9, 1


@contextlib.contextmanager
def http2_fake(answer: bytes) -> Iterator[str]:
    """Takes one call, sends the frames of `answer`, and hangs up at once where there are none."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as frames, contextlib.suppress(OSError):
                connection.sendall(SETTINGS + ACKNOWLEDGED)
                frames.read(PREFACE_BYTES)
                while len(head := frames.read(FRAME_HEAD_BYTES)) == FRAME_HEAD_BYTES and head[3] != HEADERS:
                    frames.read(int.from_bytes(head[:3], "big"))
                if answer:
                    connection.sendall(answer)
                    frames.read()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def test_a_connection_that_ends_under_a_call() -> None:
    with http2_fake(b"") as address:
        assert_meaning([said_by_grpc(address)], Meaning.CONNECTION_BROKE, 1)


@pytest.mark.parametrize(("status", "field"), [("404", b"\x8d"), ("500", b"\x8e"), ("504", b"\x48\x03504")])
def test_an_answer_of_http_2_that_is_not_grpcs(status: str, field: bytes) -> None:
    """In HPACK's static table (RFC 7541, A) 404 is 13 and 500 is 14; 504 is a literal under the name of 8."""
    frame = len(field).to_bytes(3, "big") + b"\1\5\0\0\0\1" + field  # HEADERS of stream 1, which end it
    with http2_fake(frame) as address:
        said = said_by_grpc(address)
    assert_meaning([said], Meaning.HTTP_STATUS, 1)
    assert http_status_in(said.sentence) == status


def test_every_meaning_of_the_table_has_a_test_here() -> None:
    """The gateway's own sentences are in test_gateway.py."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert {row.meaning for row in TABLE} == set(Meaning)
    assert {row.meaning.name for row in TABLE if f"Meaning.{row.meaning.name}" not in text} == {"TOO_MANY"}


SENTENCES = {
    "UNAVAILABLE": "explicit model load / unload is not allowed if polling is enabled",
    "NOT_FOUND": "Request for unknown model: 'a' is not found",
    "INTERNAL": "Cannot unregister shared memory region 'a', it is currently in use.",
    "UNKNOWN": "Stream removed",
    "RESOURCE_EXHAUSTED": "Too many requests; try again later.",
}


@pytest.mark.parametrize("around", ["{}", "my model says: {}", "{}, says my model"])
@pytest.mark.parametrize("status", SENTENCES)
def test_a_sentence_inside_another_means_nothing(status: str, around: str) -> None:
    assert (meaning_of(status, around.format(SENTENCES[status])) is None) is (around != "{}")
