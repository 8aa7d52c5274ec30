"""A request's body, read as fast as it is used and only up to its limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from ai102.api.gate import Held
from ai102.api.limits import Limits
from ai102.api.problems import Problem


async def chunks(request: Request, max_bytes: int, limits: Limits, held: Held) -> AsyncIterator[bytes]:
    """The body in parts. Raises Problem as soon as it is too large, too slow or encoded, ClientDisconnect when it ends
    early; a Content-Length over the limit is refused before anything is read.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Problem("unsupported-type", "Send the body as it is, without a Content-Encoding.")
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise _too_large(max_bytes)
    clock = asyncio.get_running_loop().time
    ends, size, is_more = clock() + limits.upload_timeout_s, 0, True
    while is_more:
        wait_s = min(limits.part_timeout_s, ends - clock())
        try:
            async with asyncio.timeout(wait_s):
                message = await request.receive()
        except TimeoutError as err:
            raise _too_slow(limits, ends - clock() <= 0) from err
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message.get("body", b"")
        is_more = message.get("more_body", False)
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        if part:
            held.add(len(part))
            yield part


async def whole(request: Request, max_bytes: int, limits: Limits, held: Held) -> bytes:
    """The body in one piece; raises as `chunks`."""
    return b"".join([part async for part in chunks(request, max_bytes, limits, held)])


def check_is_json(request: Request) -> None:
    """Raises Problem for another media type."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"application/json" or options.get(b"charset", b"utf-8").lower() not in (b"utf-8", b"utf8"):
        raise Problem("unsupported-type", "Send JSON in UTF-8, as Content-Type: application/json.")


def _too_large(max_bytes: int) -> Problem:
    return Problem("too-large", f"The body is larger than {max_bytes} bytes.")


def _too_slow(limits: Limits, is_over: bool) -> Problem:
    reason = (
        f"The body was not whole after {limits.upload_timeout_s:g} s."
        if is_over
        else f"The body stopped for more than {limits.part_timeout_s:g} s."
    )
    return Problem("upload-timeout", reason, headers={"Connection": "close"})
