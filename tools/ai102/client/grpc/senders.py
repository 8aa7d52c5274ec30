"""Send calls over gRPC, by threads and by asyncio; one channel for each server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from typing import Any

from ai102.client.addresses import is_here
from ai102.client.calls import Call
from ai102.client.errors import (
    InferenceError,
    NoServerError,
    WrongProtocolError,
    error_from_answer,
    no_server,
    no_triton,
    seconds_from_retry_after,
    too_late,
    wrong_protocol,
)
from ai102.client.exchange import CONNECT_TIMEOUT_S, SILENT_HOST_S, Attempt
from ai102.client.grpc.messages import grpc_answer, grpc_request
from ai102.client.probes import otherwise
from ai102.client.tls import Secure
from ai102.client.words import Meaning, http_status_in, meaning_of

OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A server that is restarted is connected again at once, not after gRPC's usual two minutes.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", int(1000 * CONNECT_TIMEOUT_S)),  # the limit of one attempt to connect
    # Triton ends a connection with more than one ping in five minutes, and the calls on it: "too_many_pings".
    ("grpc.keepalive_time_ms", 310_000),
    # Also how long the host may confirm nothing of what was sent to it (TCP_USER_TIMEOUT).
    ("grpc.keepalive_timeout_ms", int(1000 * SILENT_HOST_S)),
    # Clients of one process do not share connections: closing one must not touch another.
    ("grpc.use_local_subchannel_pool", 1),
)
# gRPC's own deadline may ring so much early; a DEADLINE_EXCEEDED before that is the server's or a proxy's.
EARLY_S = 0.05


class GrpcSender:
    """For threads, any number of them."""

    def __init__(self, secure: Secure | None = None) -> None:
        import grpc
        from tritonclient.grpc import service_pb2_grpc

        self._secure, self._credentials = secure, _credentials(grpc, secure)
        self._grpc, self._stub_of = grpc, service_pb2_grpc.GRPCInferenceServiceStub
        self._open: dict[str, tuple[Any, Any]] = {}
        self._proven: set[str] = set()  # addresses that have answered in gRPC
        self._lock = threading.Lock()

    def __call__(self, attempt: Attempt) -> Any:
        ends = time.monotonic() + attempt.timeout_s
        request = grpc_request(attempt.call)
        method = getattr(self._stub(attempt.address), request.method)
        try:
            answer = method(request.message, timeout=_left(ends), metadata=_metadata(attempt.call))
        except self._grpc.RpcError as err:
            raise _failure(attempt, err, ends, self._secure, attempt.address in self._proven) from err
        self._proven.add(attempt.address)
        return grpc_answer(attempt.call, answer)

    def _stub(self, address: str) -> Any:
        if known := self._open.get(address):
            return known[1]
        with self._lock:
            if address not in self._open:
                channel = _channel(self._grpc, address, self._secure, self._credentials)
                self._open[address] = channel, self._stub_of(channel)
            return self._open[address][1]

    def close(self) -> None:
        with self._lock:
            for channel, _ in self._open.values():
                channel.close()
            self._open.clear()


class AsyncGrpcSender:
    """For one event loop."""

    def __init__(self, secure: Secure | None = None) -> None:
        import grpc
        from tritonclient.grpc import service_pb2_grpc

        self._secure, self._credentials = secure, _credentials(grpc, secure)
        self._stub_of = service_pb2_grpc.GRPCInferenceServiceStub
        self._open: dict[str, tuple[Any, Any]] = {}
        self._proven: set[str] = set()

    async def __call__(self, attempt: Attempt) -> Any:
        import grpc.aio

        ends = time.monotonic() + attempt.timeout_s
        request = grpc_request(attempt.call)
        if attempt.address not in self._open:
            channel = _channel(grpc.aio, attempt.address, self._secure, self._credentials)
            self._open[attempt.address] = channel, self._stub_of(channel)
        method = getattr(self._open[attempt.address][1], request.method)
        try:
            answer = await method(request.message, timeout=_left(ends), metadata=_metadata(attempt.call))
        except grpc.RpcError as err:
            raise await asyncio.to_thread(
                _failure, attempt, err, ends, self._secure, attempt.address in self._proven
            ) from err
        self._proven.add(attempt.address)
        return grpc_answer(attempt.call, answer)

    async def close(self) -> None:
        for channel, _ in self._open.values():
            await channel.close()
        self._open.clear()


def _credentials(grpc: Any, secure: Secure | None) -> Any:
    return secure and grpc.ssl_channel_credentials(secure.roots, secure.key, secure.certificate)


def _channel(grpc: Any, address: str, secure: Secure | None, credentials: Any) -> Any:
    options: list[tuple[str, Any]] = list(OPTIONS)
    if is_here(address):  # a proxy of the environment is for other hosts
        options.append(("grpc.enable_http_proxy", 0))
    if secure is None:
        return grpc.insecure_channel(address, options=options)
    if secure.server_name:
        options.append(("grpc.ssl_target_name_override", secure.server_name))
    return grpc.secure_channel(address, credentials, options=options)


def _metadata(call: Call) -> tuple[tuple[str, str | bytes], ...]:
    if not call.headers:
        return ()
    names = ((name.lower(), value) for name, value in call.headers.items())
    return tuple((name, value.encode() if name.endswith("-bin") else value) for name, value in names)


def _left(ends: float) -> float:
    return max(ends - time.monotonic(), 0.0)


def _failure(attempt: Attempt, err: Any, ends: float, secure: Secure | None, is_proven: bool) -> InferenceError:
    url = f"grpc{'s' if secure else ''}://{attempt.address}"
    failure = _error(url, attempt, err, is_over=_left(ends) <= EARLY_S)
    is_refused = isinstance(failure, NoServerError) and failure.is_refused
    if isinstance(failure, NoServerError | WrongProtocolError) and not is_refused and not is_proven:
        return otherwise(url, attempt.address, secure, _left(ends)) or failure
    return failure


def _error(url: str, attempt: Attempt, err: Any, *, is_over: bool) -> InferenceError:
    status, sentence = err.code().name, str(err.details() or "")
    model = attempt.call.model
    if status == "DEADLINE_EXCEEDED" and is_over:
        return too_late(url, attempt.timeout_s, model, 1)
    match meaning_of(status, sentence):
        case Meaning.ANOTHER_PROTOCOL:
            return wrong_protocol(url)
        case Meaning.ANOTHER_SERVICE:
            return no_triton(url, "its gRPC service is another")
        case Meaning.HTTP_STATUS:
            http_status = http_status_in(sentence)
            if http_status in ("301", "302", "404", "405"):
                return no_triton(url, f"HTTP {http_status}")
            return error_from_answer(http_status, sentence, model, _retry_after_s(err))
        case Meaning.NOT_CONNECTED:
            return no_server(url, _system_words(sentence))
        case Meaning.CONNECTION_BROKE:
            return no_server(url, "the connection broke", was_sent=True)
        case _:
            return error_from_answer(status, sentence or "no reason given", model, _retry_after_s(err))


def _retry_after_s(err: Any) -> float | None:
    """From gRPC's own header for it (gRFC A6), or from HTTP's, which proxies set."""
    metadata: dict[str, Any] = {}
    for kind in ("initial_metadata", "trailing_metadata"):
        if callable(read := getattr(err, kind, None)):
            entries: Iterable[tuple[str, Any]] = read() or ()
            metadata |= dict(entries)
    pushback_ms = str(metadata.get("grpc-retry-pushback-ms", ""))
    if pushback_ms.isdigit():
        return int(pushback_ms) / 1000
    return seconds_from_retry_after(str(metadata.get("retry-after", "")))


def _system_words(sentence: str) -> str:
    """ "Connection refused" out of gRPC's chain of reasons."""
    last = sentence.rpartition(": ")[2]
    return last.partition(" (")[0].strip() or sentence
