"""Send calls over HTTP: by threads with urllib3, by asyncio with aiohttp; both keep connections open."""

from __future__ import annotations

import http.client
from typing import Any

from ai102.client.errors import InferenceError, no_server, too_late, wrong_protocol
from ai102.client.exchange import Attempt
from ai102.client.http_messages import http_answer, http_request

# Connections kept open to each server; more are opened when more threads ask at once, and closed again.
KEPT_OPEN = 32


class HttpSender:
    """For threads, any number of them."""

    def __init__(self) -> None:
        import urllib3

        self._library = urllib3
        self._pools = urllib3.PoolManager(num_pools=64, maxsize=KEPT_OPEN, retries=False)

    def __call__(self, attempt: Attempt) -> Any:
        request, library, url = http_request(attempt.call), self._library.exceptions, f"http://{attempt.address}"
        timeout = self._library.Timeout(total=attempt.timeout_s)
        try:
            answer = self._pools.urlopen(
                request.method,
                url + request.path,
                body=request.body or None,
                headers=dict(request.headers),
                timeout=timeout,
                redirect=False,
            )
        except library.NewConnectionError as err:
            raise no_server(url, _reason(err)) from err
        except library.TimeoutError as err:
            raise too_late(url, attempt.timeout_s, attempt.call.model, 1) from err
        except library.ProtocolError as err:
            raise _broken(url, err) from err
        except library.HTTPError as err:
            raise no_server(url, str(err), was_sent=True) from err
        return http_answer(attempt.call, answer.status, answer.headers, answer.data)

    def close(self) -> None:
        self._pools.clear()


class AsyncHttpSender:
    """For one event loop."""

    def __init__(self) -> None:
        self._session: Any = None

    async def __call__(self, attempt: Attempt) -> Any:
        import aiohttp

        request, url = http_request(attempt.call), f"http://{attempt.address}"
        if self._session is None:  # wants a running loop
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        try:
            async with self._session.request(
                request.method,
                url + request.path,
                data=request.body or None,
                headers=dict(request.headers),
                timeout=aiohttp.ClientTimeout(total=attempt.timeout_s),
                allow_redirects=False,
            ) as answer:
                body = await answer.read()
        except aiohttp.ClientConnectorError as err:
            raise no_server(url, _reason(err)) from err
        except TimeoutError as err:
            raise too_late(url, attempt.timeout_s, attempt.call.model, 1) from err
        except aiohttp.ClientResponseError as err:  # what came is no HTTP
            raise wrong_protocol(url) from err
        except (aiohttp.ClientError, OSError) as err:
            raise no_server(url, _reason(err), was_sent=True) from err
        return http_answer(attempt.call, answer.status, answer.headers, body)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def _broken(url: str, err: Exception) -> InferenceError:
    """The connection ended in the middle, or began with what is no HTTP."""
    cause = err.args[-1] if err.args else err
    is_garbage = isinstance(cause, http.client.BadStatusLine) and not isinstance(cause, http.client.RemoteDisconnected)
    return wrong_protocol(url) if is_garbage else no_server(url, str(cause), was_sent=True)


def _reason(err: BaseException) -> str:
    """The system's own words, without the library's wrapping."""
    inner: Any = err
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror and inner.errno is not None and inner.errno > 0:
            return inner.strerror.partition(" [")[0]
        inner = inner.__cause__ or inner.__context__ or getattr(inner, "os_error", None)
    return str(err).rpartition(": ")[2]
