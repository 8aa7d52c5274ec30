"""Send calls over gRPC, by threads and by asyncio; one channel for each server."""

from __future__ import annotations

import threading
from typing import Any

from ai102.client.calls import Call
from ai102.client.errors import InferenceError, error_from_answer, no_server, too_late, wrong_protocol
from ai102.client.exchange import Attempt
from ai102.client.grpc_messages import grpc_answer, grpc_request

OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A server that is restarted is found again at once, not after gRPC's usual two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A connection that died without a word is noticed within half a minute of silence.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Clients of one process do not share connections: closing one must not touch another.
    ("grpc.use_local_subchannel_pool", 1),
)
_NEVER_SENT = ("failed to connect", "Connection refused", "DNS resolution failed", "No route to host", "handshake")


class GrpcSender:
    """For threads, any number of them."""

    def __init__(self) -> None:
        import grpc
        from tritonclient.grpc import service_pb2_grpc

        self._grpc, self._stub_of = grpc, service_pb2_grpc.GRPCInferenceServiceStub
        self._open: dict[str, tuple[Any, Any]] = {}
        self._lock = threading.Lock()

    def __call__(self, attempt: Attempt) -> Any:
        request = grpc_request(attempt.call)
        try:
            answer = getattr(self._stub(attempt.address), request.method)(
                request.message, timeout=attempt.timeout_s, metadata=_metadata(attempt.call)
            )
        except self._grpc.RpcError as err:
            raise _error(attempt, err) from err
        return grpc_answer(attempt.call, answer)

    def _stub(self, address: str) -> Any:
        with self._lock:
            if address not in self._open:
                channel = self._grpc.insecure_channel(address, options=OPTIONS)
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

    async def __call__(self, attempt: Attempt) -> Any:
        import grpc.aio

        request = grpc_request(attempt.call)
        if attempt.address not in self._open:
            channel = grpc.aio.insecure_channel(attempt.address, options=OPTIONS)
            self._open[attempt.address] = channel, self._stub_of(channel)
        try:
            answer = await getattr(self._open[attempt.address][1], request.method)(
                request.message, timeout=attempt.timeout_s, metadata=_metadata(attempt.call)
            )
        except grpc.RpcError as err:
            raise _error(attempt, err) from err
        return grpc_answer(attempt.call, answer)

    async def close(self) -> None:
        for channel, _ in self._open.values():
            await channel.close()
        self._open.clear()


def _metadata(call: Call) -> tuple[tuple[str, str], ...]:
    return tuple((key.lower(), value) for key, value in call.headers.items())


def _error(attempt: Attempt, err: Any) -> InferenceError:
    status, sentence = err.code().name, str(err.details() or "no reason given")
    url, model = f"grpc://{attempt.address}", attempt.call.model
    if status == "DEADLINE_EXCEEDED":
        return too_late(url, attempt.timeout_s, model, 1)
    if "http1.x" in sentence or "Invalid HTTP1 response" in sentence:
        return wrong_protocol(url)
    if status == "UNAVAILABLE":
        if any(words in sentence for words in _NEVER_SENT):
            return no_server(url, _system_words(sentence))
        if any(words in sentence for words in ("Socket closed", "recvmsg", "Connection reset", "GOAWAY", "sendmsg")):
            return no_server(url, "the connection broke", was_sent=True)
    return error_from_answer(status, sentence, model)


def _system_words(sentence: str) -> str:
    """ "Connection refused" out of gRPC's chain of reasons."""
    last = sentence.rpartition(": ")[2]
    return last.partition(" (")[0].strip() or sentence
