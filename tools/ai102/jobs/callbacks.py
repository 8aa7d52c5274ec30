"""Who gave a callback hears of its job's end: a CloudEvent, signed as Standard Webhooks has it, sent again if need be.

CloudEvents 1.0.2 in JSON (cloudevents.io); the headers and signature of Standard Webhooks 1.0 (standardwebhooks.com).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import secrets
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from ai102 import artifact
from ai102.errors import UserError
from ai102.jobs.job import Job, JobsError, moment
from ai102.jobs.ledger.ledger import Due, Ledger

TYPE = "ai102.job.ended"
SOURCE = "/v1/jobs"
TIMEOUT_S = 10.0
# The pauses before each further try; after the last one the callback is given up, and the result can still be fetched.
PAUSES_S = (5.0, 30.0, 120.0, 600.0, 3600.0)
AT_ONCE = 16
LOOK_S = 0.5

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True)
class Settings:
    """`key` signs; `allowed` are networks besides the public ones that may be called."""

    key: bytes
    allowed: tuple[Network, ...] = ()


class RefusedAddressError(Exception):
    """The callback leads to an address that callers may not reach through us."""


def networks_from(texts: Sequence[str]) -> tuple[Network, ...]:
    """Raises UserError for what is no network."""
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as err:
        raise UserError(f"--callback-network: {err}; write for example 10.1.0.0/16") from err


def master_key(file: Path) -> bytes:
    """The key in the file, which is made when missing and which only its owner may read. Raises UserError."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        artifact.write_bytes(file, secrets.token_bytes(32), mode=0o600)
    key = file.read_bytes()
    if len(key) != 32:
        raise UserError(f"{file}: not a key of 32 bytes: remove it, and another is made")
    return key


def key_of(master: bytes, owner: str) -> bytes:
    """The key with which events to an owner are signed: no owner can sign for another."""
    return hmac.new(master, b"callback:" + owner.encode(), hashlib.sha256).digest()


def event_of(job: Job) -> dict[str, Any]:
    """The event without the answer: that is fetched, with the rights of whoever fetches it."""
    return {
        "specversion": "1.0",
        "id": job.id,
        "source": SOURCE,
        "type": TYPE,
        "subject": job.id,
        "time": moment(job.ended_s or 0.0),
        "datacontenttype": "application/json",
        "data": {"id": job.id, "state": job.state.value, "model": job.model, "key": job.key or None},
    }


def signature(key: bytes, id: str, timestamp: int, body: bytes) -> str:
    """Of the header webhook-signature."""
    signed = f"{id}.{timestamp}.".encode() + body
    return "v1," + b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def is_allowed(address: ipaddress.IPv4Address | ipaddress.IPv6Address, allowed: Sequence[Network]) -> bool:
    """Whether callers may have us call it: a public address of one host, or one of the networks."""
    plain = getattr(address, "ipv4_mapped", None) or address
    return (plain.is_global and not plain.is_multicast) or any(plain in network for network in allowed)


def address_for(host: str, port: int, allowed: Sequence[Network], resolve: Resolve) -> str:
    """The address to connect to. All that the name stands for must be allowed, so that no order of them matters.

    Raises RefusedAddressError, and OSError when the name is unknown.
    """
    addresses = resolve(host, port)
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        if not is_allowed(address, allowed):
            raise RefusedAddressError(f"{host} is at {address}, which is not public")
    return addresses[0]


def resolved(host: str, port: int) -> Sequence[str]:
    """By the system. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Callbacks:
    """Belongs to one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        say: Callable[[str], None],
        resolve: Resolve = resolved,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._say = say
        self._resolve = resolve
        self._clock = clock

    async def run(self) -> None:
        """Make callbacks that are due, until cancelled."""
        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            while True:
                try:
                    due = await asyncio.to_thread(self._ledger.due_callbacks, AT_ONCE, 2 * TIMEOUT_S)
                    await asyncio.gather(*(self._make(client, one) for one in due))
                except JobsError as err:
                    self._say(f"{err}: trying again")
                    due = []
                if not due:
                    await asyncio.sleep(LOOK_S)

    async def _make(self, client: httpx.AsyncClient, due: Due) -> None:
        reason = await self._failure(client, due)
        if reason is None:
            await asyncio.to_thread(self._ledger.callback_made, due.job.id, None)
            return
        pause_s = PAUSES_S[due.tries - 1] if due.tries <= len(PAUSES_S) else None
        later = None if pause_s is None else self._clock() + pause_s
        self._say(f"callback of job {due.job.id}, try {due.tries}: {reason}" + ("" if later else "; given up"))
        await asyncio.to_thread(self._ledger.callback_made, due.job.id, later)

    async def _failure(self, client: httpx.AsyncClient, due: Due) -> str | None:
        """Why the callback failed; None when it was taken."""
        parts = urlsplit(due.url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        try:
            address = await asyncio.to_thread(address_for, host, port, self._settings.allowed, self._resolve)
        except (RefusedAddressError, OSError) as err:
            return str(err)
        body = json.dumps(event_of(due.job)).encode()
        timestamp = int(self._clock())
        key = key_of(self._settings.key, due.job.owner)
        headers = {
            "host": parts.netloc,
            "content-type": "application/cloudevents+json",
            "webhook-id": due.job.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(key, due.job.id, timestamp, body),
        }
        # The connection goes to the address that was checked, whatever the name stands for by then.
        url = httpx.URL(due.url).copy_with(host=address, port=port)
        try:
            async with client.stream(
                "POST", url, content=body, headers=headers, extensions={"sni_hostname": host}
            ) as answer:
                return None if 200 <= answer.status_code < 300 else f"answered {answer.status_code}"
        except httpx.HTTPError as err:
            return str(err) or type(err).__name__
