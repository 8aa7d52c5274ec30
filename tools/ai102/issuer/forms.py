"""A request's form, as RFC 6749 requires it: url-encoded, small, no parameter twice; and its origin."""

from __future__ import annotations

import asyncio
import re
from ipaddress import ip_address
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from ai102.issuer.audit import Origin
from ai102.issuer.refusals import Refusal, invalid_request
from ai102.issuer.settings import Settings

MAX_PARAMETERS = 16
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


async def form_of(request: Request, settings: Settings) -> dict[str, str]:
    """The parameters that have a value; Refusal with 400, 408, 413 or 415."""
    kind, _, extra = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() != "application/x-www-form-urlencoded" or (
        extra.strip() and extra.strip().lower().replace('"', "") != "charset=utf-8"
    ):
        raise invalid_request("Send the parameters as application/x-www-form-urlencoded in UTF-8.", 415)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise invalid_request("Send the parameters without a content encoding.", 415)
    if request.url.query:
        # Query strings end up in logs, and these parameters are secrets.
        raise invalid_request("Send the parameters in the body, not in the address.")
    body = await _body_of(request, settings)
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )  # fmt: skip
    except ValueError as err:
        raise invalid_request("The body is not a url-encoded form of a few parameters.") from err
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise invalid_request("A parameter is there twice.")
    # SQLite and the audit log take any text but this.
    if any("\0" in value for pair in pairs for value in pair):
        raise invalid_request("A parameter holds a NUL character.")
    return {name: value for name, value in pairs if value}


def needed(form: dict[str, str], name: str) -> str:
    if value := form.get(name):
        return value
    raise invalid_request(f"The parameter {name} is missing.")


def origin_of(request: Request, settings: Settings) -> Origin:
    """The client's address: the peer's, or what a trusted proxy saw, which is the last one it added."""
    peer = request.client.host if request.client else ""
    address = peer
    forwarded = request.headers.getlist("x-forwarded-for")
    if forwarded and _is_trusted(peer, settings):
        last = forwarded[-1].rpartition(",")[2].strip()
        try:
            address = str(ip_address(last))
        except ValueError:
            address = peer
    request_id = request.headers.get("x-request-id", "")
    return Origin(address, request_id=request_id if REQUEST_ID.fullmatch(request_id) else "")


def _is_trusted(peer: str, settings: Settings) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return any(address in network for network in settings.proxies)


async def _body_of(request: Request, settings: Settings) -> bytes:
    too_large = invalid_request("The body is too large.", 413)
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > settings.max_body_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > settings.max_body_bytes:
                    raise too_large
    except TimeoutError as err:
        raise Refusal(408, "invalid_request", "The body did not come in time.") from err
    except ClientDisconnect as err:
        raise invalid_request("The body was cut off.") from err
    return bytes(body)
