"""Send calls over gRPC, by threads and by asyncio; one channel for each server."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

from ai102.client.addresses import host_and_port, is_here
from ai102.client.calls import Call
from ai102.client.errors import (
    InferenceError,
    NoServerError,
    error_from_answer,
    no_server,
    no_triton,
    too_late,
    wrong_protocol,
)
from ai102.client.exchange import CONNECT_TIMEOUT_S, Attempt
from ai102.client.grpc_messages import grpc_answer, grpc_request

OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A server that is restarted is found again at once, not after gRPC's usual two minutes.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", int(1000 * CONNECT_TIMEOUT_S)),  # the limit of one attempt to connect
    # More pings than one in five minutes, and Triton ends the connection and the calls on it: "too_many_pings".
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Clients of one process do not share connections: closing one must not touch another.
    ("grpc.use_local_subchannel_pool", 1),
)
_NEVER_SENT = (
    "failed to connect",
    "Connection refused",
    "DNS resolution failed",
    "errors resolving",
    "No route to host",
    "handshake",
)
_BROKEN = (
    "Socket closed", "recvmsg", "Connection reset", "GOAWAY", "sendmsg", "Broken pipe", "Stream removed",
    "keepalive watchdog", "Connection timed out", "transport closed",
)  # fmt: skip
# A server that never answered may speak something else: it is asked in HTTP, no longer than this.
PROBE_TIMEOUT_S = 0.5
FIRST_OF_HTTP2 = b"\0"  # its first frame is a short one, and a frame begins with its length in three bytes
PROBE = b"GET /v2/health/live HTTP/1.0\r\n\r\n"


class GrpcSender:
    """For threads, any number of them."""

    def __init__(self) -> None:
        import grpc
        from tritonclient.grpc import service_pb2_grpc

        self._grpc, self._stub_of = grpc, service_pb2_grpc.GRPCInferenceServiceStub
        self._open: dict[str, tuple[Any, Any]] = {}
        self._proven: set[str] = set()  # what has answered in gRPC
        self._lock = threading.Lock()

    def __call__(self, attempt: Attempt) -> Any:
        request = grpc_request(attempt.call)
        try:
            answer = getattr(self._stub(attempt.address), request.method)(
                request.message, timeout=attempt.timeout_s, metadata=_metadata(attempt.call)
            )
        except self._grpc.RpcError as err:
            raise _failure(attempt, err, attempt.address in self._proven) from err
        self._proven.add(attempt.address)
        return grpc_answer(attempt.call, answer)

    def _stub(self, address: str) -> Any:
        if known := self._open.get(address):
            return known[1]
        with self._lock:
            if address not in self._open:
                channel = self._grpc.insecure_channel(address, options=_options(address))
                self._open[address] = channel, self._stub_of(channel)
            return self._open[address][1]

    def close(self) -> None:
        with self._lock:
            for channel, _ in self._open.values():
                channel.close()
            self._open.clear()


class AsyncGrpcSender:
    """For one event loop."""

    def __init__(self) -> None:
        from tritonclient.grpc import service_pb2_grpc

        self._stub_of = service_pb2_grpc.GRPCInferenceServiceStub
        self._open: dict[str, tuple[Any, Any]] = {}
        self._proven: set[str] = set()

    async def __call__(self, attempt: Attempt) -> Any:
        import grpc.aio

        request = grpc_request(attempt.call)
        if attempt.address not in self._open:
            channel = grpc.aio.insecure_channel(attempt.address, options=_options(attempt.address))
            self._open[attempt.address] = channel, self._stub_of(channel)
        try:
            answer = await getattr(self._open[attempt.address][1], request.method)(
                request.message, timeout=attempt.timeout_s, metadata=_metadata(attempt.call)
            )
        except grpc.RpcError as err:
            # Asked in a thread: what listens there may be slow to say that it is something else.
            raise await asyncio.to_thread(_failure, attempt, err, attempt.address in self._proven) from err
        self._proven.add(attempt.address)
        return grpc_answer(attempt.call, answer)

    async def close(self) -> None:
        for channel, _ in self._open.values():
            await channel.close()
        self._open.clear()


def _metadata(call: Call) -> tuple[tuple[str, str], ...]:
    return tuple((key.lower(), value) for key, value in call.headers.items())


def _failure(attempt: Attempt, err: Any, is_proven: bool) -> InferenceError:
    failure = _error(attempt, err)
    if isinstance(failure, NoServerError) and not is_proven and _speaks_otherwise(attempt):
        return wrong_protocol(f"grpc://{attempt.address}")
    return failure


def _error(attempt: Attempt, err: Any) -> InferenceError:
    status, sentence = err.code().name, str(err.details() or "no reason given")
    url, model = f"grpc://{attempt.address}", attempt.call.model
    if status == "DEADLINE_EXCEEDED":
        return too_late(url, attempt.timeout_s, model, 1)
    if "http1.x" in sentence or "Invalid HTTP1 response" in sentence:
        return wrong_protocol(url)
    if status == "UNIMPLEMENTED" and sentence in ("", "no reason given", "Method not found!"):
        return no_triton(url, "its gRPC service is another")
    if status == "UNAVAILABLE" and any(words in sentence for words in _NEVER_SENT):
        return no_server(url, _system_words(sentence))
    if status in ("UNAVAILABLE", "UNKNOWN", "INTERNAL") and any(words in sentence for words in _BROKEN):
        return no_server(url, "the connection broke", was_sent=True)
    return error_from_answer(status, sentence, model)


def _speaks_otherwise(attempt: Attempt) -> bool:
    """Triton's HTTP port closes a connection that begins in gRPC without a word, as a server that dies does."""
    timeout_s = min(PROBE_TIMEOUT_S, attempt.timeout_s)
    try:
        with socket.create_connection(host_and_port(attempt.address), timeout_s) as probe:
            probe.settimeout(timeout_s)
            probe.sendall(PROBE)
            said = probe.recv(1)
            return said not in (b"", FIRST_OF_HTTP2)
    except OSError:
        return False


def _options(address: str) -> tuple[tuple[str, int], ...]:
    # A proxy of the environment is for other hosts.
    return (*OPTIONS, ("grpc.enable_http_proxy", 0)) if is_here(address) else OPTIONS


def _system_words(sentence: str) -> str:
    """ "Connection refused" out of gRPC's chain of reasons."""
    last = sentence.rpartition(": ")[2]
    return last.partition(" (")[0].strip() or sentence
