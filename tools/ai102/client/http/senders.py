"""Send calls over HTTP: by threads with http.client, by asyncio with aiohttp; both keep connections open."""

from __future__ import annotations

import asyncio
import errno
import http.client
import io
import math
import os
import socket
import ssl
import time
from typing import Any

from ai102.client.errors import InferenceError, no_server, only_tls, too_late, wrong_protocol
from ai102.client.exchange import CONNECT_TIMEOUT_S, Attempt
from ai102.client.http.connections import Connections, ask, unconnected
from ai102.client.http.messages import http_answer, http_request
from ai102.client.probes import otherwise, speaks_tls
from ai102.client.tls import Secure, error_from_ssl
from ai102.host.listen import host_and_port

# aiohttp warns of larger bodies in one piece, because they hold up the event loop.
IN_ONE_PIECE_BYTES = 1 << 20
# aiohttp offers compression by itself, and Triton then compresses every answer, which is far slower than to send it.
NOT_SAID = ("Accept-Encoding", "User-Agent")
# A server of TLS may answer this to a request without TLS; Triton answers it to a bad request.
PLAIN_TO_TLS = 400


class HttpSender:
    """For threads, any number of them."""

    def __init__(self, secure: Secure | None = None) -> None:
        self._secure = secure
        self._scheme = "https" if secure else "http"
        self._connections = Connections(secure)
        self._proven: set[str] = set()  # addresses that have answered as the URL says

    def __call__(self, attempt: Attempt) -> Any:
        ends = time.monotonic() + attempt.timeout_s
        request, url = http_request(attempt.call), f"{self._scheme}://{attempt.address}"
        is_connected = False
        try:
            with self._connections.borrow(attempt.address, ends, CONNECT_TIMEOUT_S) as connection:
                is_connected = True
                answer = ask(connection, request, host_of(attempt.address, self._secure))
        except TimeoutError as err:
            if err.errno == errno.ETIMEDOUT and time.monotonic() < ends:
                raise no_server(url, "the host is gone", was_sent=is_connected) from err
            if is_connected or time.monotonic() >= ends:
                raise too_late(url, attempt.timeout_s, attempt.call.model, 1) from err
            raise no_server(url, f"no connection within {CONNECT_TIMEOUT_S:g} s") from err
        except (http.client.HTTPException, OSError) as err:
            failure = _failure_of_tls(url, err, self._secure)
            if failure is None and attempt.address not in self._proven and was_reached(err):
                failure = otherwise(url, attempt.address, self._secure, ends - time.monotonic())
            raise failure or _failure(url, err, is_connected) from err
        if attempt.address not in self._proven:
            is_plain = answer.status == PLAIN_TO_TLS and self._secure is None
            if is_plain and speaks_tls(attempt.address, ends - time.monotonic()):
                raise only_tls(url)
            self._proven.add(attempt.address)
        return http_answer(attempt.call, url, *answer)

    def close(self) -> None:
        self._connections.close()


class AsyncHttpSender:
    """For one event loop."""

    def __init__(self, secure: Secure | None = None) -> None:
        self._secure = secure
        self._scheme = "https" if secure else "http"
        self._session: Any = None
        self._proven: set[str] = set()

    async def __call__(self, attempt: Attempt) -> Any:
        import aiohttp
        import yarl

        ends = time.monotonic() + attempt.timeout_s
        request, url = http_request(attempt.call), f"{self._scheme}://{attempt.address}"
        if self._session is None:  # it needs a running loop
            trust: Any = self._secure.context if self._secure else True
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30, ssl=trust, socket_factory=unconnected)
            jar = aiohttp.DummyCookieJar()
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=jar, skip_auto_headers=NOT_SAID)
        body = b"".join(request.parts)
        # Without a threshold aiohttp rounds a time limit above 5 s up to the next whole second of its clock.
        timeout = aiohttp.ClientTimeout(
            total=max(ends - time.monotonic(), 0.001), sock_connect=CONNECT_TIMEOUT_S, ceil_threshold=math.inf
        )
        headers, more = request.headers, {}
        if self._secure and self._secure.server_name:
            headers = {**headers, "Host": host_of(attempt.address, self._secure)}
            more = {"server_hostname": self._secure.server_name}
        try:
            async with self._session.request(
                request.method,
                yarl.URL(url + request.path, encoded=True),
                data=io.BytesIO(body) if len(body) > IN_ONE_PIECE_BYTES else body or None,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                **more,
            ) as answer:
                content = await answer.read()
        except aiohttp.ConnectionTimeoutError as err:
            raise no_server(url, f"no connection within {CONNECT_TIMEOUT_S:g} s") from err
        except TimeoutError as err:
            raise too_late(url, attempt.timeout_s, attempt.call.model, 1) from err
        except (aiohttp.ClientError, OSError) as err:
            failure = _failure_of_tls(url, err, self._secure)
            if failure is None and attempt.address not in self._proven and was_reached(err):
                left_s = ends - time.monotonic()
                failure = await asyncio.to_thread(otherwise, url, attempt.address, self._secure, left_s)
            if failure is None and isinstance(err, aiohttp.ClientResponseError):  # the answer is no HTTP
                failure = wrong_protocol(url)
            raise failure or _failure(url, err, not isinstance(err, aiohttp.ClientConnectorError)) from err
        if attempt.address not in self._proven:
            is_plain = answer.status == PLAIN_TO_TLS and self._secure is None
            if is_plain and await asyncio.to_thread(speaks_tls, attempt.address, ends - time.monotonic()):
                raise only_tls(url)
            self._proven.add(attempt.address)
        return http_answer(attempt.call, url, answer.status, answer.headers, content)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def host_of(address: str, secure: Secure | None) -> str:
    """The request's Host: the server's own name, where the caller gives one."""
    if secure is None or not secure.server_name:
        return address
    return f"{secure.server_name}:{host_and_port(address)[1]}"


def _failure_of_tls(url: str, err: BaseException, secure: Secure | None) -> InferenceError | None:
    inner: Any = err
    while secure is not None and inner is not None:
        for one in (getattr(inner, "certificate_error", None), getattr(inner, "os_error", None), inner):
            if isinstance(one, ssl.SSLError) and one.reason and (failure := error_from_ssl(url, one, secure)):
                return failure
        inner = inner.__cause__ or inner.__context__
    return None


def was_reached(err: BaseException) -> bool:
    """Something listens at the address, and ended the connection or answered in another protocol."""
    cause = getattr(err, "os_error", None) or err
    return not isinstance(cause, ConnectionRefusedError | socket.gaierror)


def _failure(url: str, err: BaseException, is_connected: bool) -> InferenceError:
    if isinstance(err, http.client.RemoteDisconnected | http.client.IncompleteRead | ssl.SSLError):
        return no_server(url, "the connection broke", was_sent=is_connected)
    if isinstance(err, http.client.HTTPException):  # the answer is no HTTP
        return wrong_protocol(url)
    words = _reason(err) if isinstance(err, OSError) or not is_connected else "the connection broke"
    return no_server(url, words, was_sent=is_connected)


def _reason(err: BaseException) -> str:
    """The system's own words, without the library's wrapping."""
    inner: Any = err
    while inner is not None:
        if isinstance(inner, OSError) and not isinstance(inner, ssl.SSLError) and inner.strerror and inner.errno:
            # asyncio puts the address in place of the system's words; a name that is not known has a negative number.
            return os.strerror(inner.errno) if inner.errno > 0 else inner.strerror.partition(" [")[0]
        inner = getattr(inner, "os_error", None) or inner.__cause__ or inner.__context__
    return str(err).rpartition(": ")[2]
