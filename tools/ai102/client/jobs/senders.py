"""Send the requests of jobs with httpx, by threads and by asyncio; both keep connections open.

Client does without httpx for its cost of a millisecond a call; calls about jobs carry many items, or wait for seconds.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterator
from typing import Any

from ai102.client.errors import InferenceError, WrongProtocolError, too_late
from ai102.client.exchange import CONNECT_TIMEOUT_S, Attempt
from ai102.client.in_time import within
from ai102.client.jobs.errors import document_from_reply, no_api
from ai102.client.jobs.messages import Ask, Reply
from ai102.client.tls import Secure, error_from_ssl
from ai102.errors import UserError
from ai102.host.listen import host_and_port

# What httpx says of a connection that ended; its other complaints are about a server that speaks no HTTP.
_ENDED = ("server disconnected", "peer closed connection", "connection closed")


class JobSender:
    """For threads, any number of them."""

    def __init__(self, secure: Secure | None = None) -> None:
        self._secure = secure
        self._client = _httpx().Client(**_options(secure))

    def __call__(self, attempt: Attempt) -> Any:
        import httpx

        ask, url, request = _request(attempt, self._secure)
        try:
            # httpx bounds each read alone: an answer that trickles would outlive the deadline.
            answer = within(attempt.timeout_s, lambda: self._client.request(**request))
        except TimeoutError as err:
            raise too_late(url, attempt.timeout_s, ask.model, 1) from err
        except httpx.HTTPError as err:
            raise _failure(url, attempt, err, self._secure) from err
        return document_from_reply(ask, url, Reply(answer.status_code, answer.headers, answer.content))

    def close(self) -> None:
        self._client.close()


class AsyncJobSender:
    """For one event loop."""

    def __init__(self, secure: Secure | None = None) -> None:
        self._secure = secure
        self._client = _httpx().AsyncClient(**_options(secure))

    async def __call__(self, attempt: Attempt) -> Any:
        import httpx

        ask, url, request = _request(attempt, self._secure)
        try:
            async with asyncio.timeout(attempt.timeout_s):
                answer = await self._client.request(**request)
        except TimeoutError as err:
            raise too_late(url, attempt.timeout_s, ask.model, 1) from err
        except httpx.HTTPError as err:
            raise _failure(url, attempt, err, self._secure) from err
        return document_from_reply(ask, url, Reply(answer.status_code, answer.headers, answer.content))

    async def close(self) -> None:
        await self._client.aclose()


def _httpx() -> Any:
    # Imported here: Client needs none of it.
    try:
        import httpx
    except ModuleNotFoundError as err:
        raise UserError("jobs are handed in with httpx, which is not installed: pip install 'ai102[jobs]'") from err
    return httpx


def _options(secure: Secure | None) -> dict[str, Any]:
    # No proxies and passwords of the environment: the URL says whom to ask, and the caller as whom.
    return {"verify": secure.context if secure else False, "trust_env": False}


def _request(attempt: Attempt, secure: Secure | None) -> tuple[Ask, str, dict[str, Any]]:
    import httpx

    ask: Any = attempt.call
    url = f"{'https' if secure else 'http'}://{attempt.address}"
    request: dict[str, Any] = {
        "method": ask.method,
        "url": url + ask.path,
        "content": ask.body or None,
        "headers": {"accept": "application/json", **ask.headers},
        "timeout": httpx.Timeout(attempt.timeout_s, connect=min(attempt.timeout_s, CONNECT_TIMEOUT_S)),
    }
    if ask.body:
        request["headers"]["content-type"] = "application/json"
    if secure and secure.server_name:
        request["headers"]["host"] = f"{secure.server_name}:{host_and_port(attempt.address)[1]}"
        request["extensions"] = {"sni_hostname": secure.server_name}
    return ask, url, request


def _failure(url: str, attempt: Attempt, err: Exception, secure: Secure | None) -> InferenceError:
    import httpx

    if isinstance(err, httpx.ConnectTimeout) and attempt.timeout_s > CONNECT_TIMEOUT_S:
        return no_api(url, f"no connection within {CONNECT_TIMEOUT_S:g} s")
    if isinstance(err, httpx.TimeoutException):
        return too_late(url, attempt.timeout_s, attempt.call.model, 1)
    causes = list(_system_errors(err))
    for cause in causes:
        if secure and isinstance(cause, ssl.SSLError) and (failure := error_from_ssl(url, cause, secure)):
            return failure
    if isinstance(err, httpx.ConnectError):
        return no_api(url, next(map(_reason, causes), str(err) or type(err).__name__))
    if isinstance(err, httpx.RemoteProtocolError | httpx.DecodingError) and not str(err).lower().startswith(_ENDED):
        return WrongProtocolError(f"{url}: the server does not speak HTTP as expected ({err}); name the API's port")
    return no_api(url, "the connection broke", was_sent=True)


def _system_errors(err: BaseException | None) -> Iterator[OSError]:
    """The operating system's errors among the causes; httpx wraps them twice, and for asyncio in groups."""
    while err is not None:
        if isinstance(err, BaseExceptionGroup):
            for one in err.exceptions:
                yield from _system_errors(one)
        if isinstance(err, OSError) and err.errno is not None:
            yield err
        err = err.__cause__ or err.__context__


def _reason(err: OSError) -> str:
    # asyncio has sentences of its own for the same numbers.
    return os.strerror(err.errno) if err.errno is not None and err.errno > 0 else err.strerror or str(err)
