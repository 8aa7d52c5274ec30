"""Send calls over HTTP: by threads with http.client, by asyncio with aiohttp; both keep connections open."""

from __future__ import annotations

import http.client
import io
import os
import time
from typing import Any

from ai102.client.errors import InferenceError, no_server, too_late, wrong_protocol
from ai102.client.exchange import CONNECT_TIMEOUT_S, Attempt
from ai102.client.http_connections import Connections, ask
from ai102.client.http_messages import http_answer, http_request

# aiohttp warns of larger bodies in one piece: they would hold up the event loop.
IN_ONE_PIECE_BYTES = 1 << 20
# aiohttp's own offer, which has Triton compress every answer: far slower than to send it.
NOT_SAID = ("Accept-Encoding", "User-Agent")


class HttpSender:
    """For threads, any number of them."""

    def __init__(self) -> None:
        self._connections = Connections()

    def __call__(self, attempt: Attempt) -> Any:
        request, url = http_request(attempt.call), f"http://{attempt.address}"
        ends = time.monotonic() + attempt.timeout_s
        is_connected = False
        try:
            with self._connections.borrow(attempt.address, ends, CONNECT_TIMEOUT_S) as connection:
                is_connected = True
                answer = ask(connection, request, attempt.address)
        except TimeoutError as err:
            if is_connected or time.monotonic() >= ends:
                raise too_late(url, attempt.timeout_s, attempt.call.model, 1) from err
            raise no_server(url, f"no connection within {CONNECT_TIMEOUT_S:g} s") from err
        except (http.client.RemoteDisconnected, http.client.IncompleteRead) as err:
            raise no_server(url, "the connection broke", was_sent=True) from err
        except http.client.HTTPException as err:  # what came is no HTTP
            raise wrong_protocol(url) from err
        except OSError as err:
            raise no_server(url, _reason(err), was_sent=is_connected) from err
        return http_answer(attempt.call, url, *answer)

    def close(self) -> None:
        self._connections.close()


class AsyncHttpSender:
    """For one event loop."""

    def __init__(self) -> None:
        self._session: Any = None

    async def __call__(self, attempt: Attempt) -> Any:
        import aiohttp
        import yarl

        request, url = http_request(attempt.call), f"http://{attempt.address}"
        if self._session is None:  # wants a running loop
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
            jar = aiohttp.DummyCookieJar()
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=jar, skip_auto_headers=NOT_SAID)
        body = b"".join(request.parts)
        timeout = aiohttp.ClientTimeout(total=attempt.timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        try:
            async with self._session.request(
                request.method,
                yarl.URL(url + request.path, encoded=True),
                data=io.BytesIO(body) if len(body) > IN_ONE_PIECE_BYTES else body or None,
                headers=request.headers,
                timeout=timeout,
                allow_redirects=False,
            ) as answer:
                content = await answer.read()
        except aiohttp.ConnectionTimeoutError as err:
            raise no_server(url, f"no connection within {CONNECT_TIMEOUT_S:g} s") from err
        except aiohttp.ClientConnectorError as err:
            raise no_server(url, _reason(err)) from err
        except TimeoutError as err:
            raise too_late(url, attempt.timeout_s, attempt.call.model, 1) from err
        except aiohttp.ClientResponseError as err:  # what came is no HTTP
            raise wrong_protocol(url) from err
        except (aiohttp.ClientError, OSError) as err:
            raise _broken(url, err) from err
        return http_answer(attempt.call, url, answer.status, answer.headers, content)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def _broken(url: str, err: BaseException) -> InferenceError:
    return no_server(url, _reason(err) if isinstance(err, OSError) else "the connection broke", was_sent=True)


def _reason(err: BaseException) -> str:
    """The system's own words, without the library's wrapping."""
    inner: Any = err
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror and inner.errno is not None:
            # asyncio puts the address in place of the system's words; a name that is not known has a negative number.
            return os.strerror(inner.errno) if inner.errno > 0 else inner.strerror.partition(" [")[0]
        inner = getattr(inner, "os_error", None) or inner.__cause__ or inner.__context__
    return str(err).rpartition(": ")[2]
