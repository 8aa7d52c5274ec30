"""Sentences of other programs that the client tells apart: one row each, with its status and its meaning.

A row matches a whole sentence in the statuses it names. A word inside a sentence decides nothing, because models write
sentences too. `tests/client/test_words.py` has the real tritonserver and the real gRPC library say theirs.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple


class Meaning(Enum):
    """What a sentence says about a call."""

    RESTRICTED = auto()  # the API needs a header that the caller did not send
    NO_EXPLICIT_CONTROL = auto()  # the server decides by itself which models it loads
    NO_MODEL = auto()
    REGION_IS_REGISTERED = auto()
    REGION_IS_UNKNOWN = auto()
    REGION_IS_IN_USE = auto()
    REGION_IS_TOO_SMALL = auto()
    TOO_LARGE = auto()
    TOO_MANY = auto()
    NOT_CONNECTED = auto()  # nothing was sent
    CONNECTION_BROKE = auto()
    ANOTHER_PROTOCOL = auto()
    ANOTHER_SERVICE = auto()
    HTTP_STATUS = auto()  # the answer is plain HTTP; the pattern's group is its status


class Row(NamedTuple):
    author: str  # "triton", "grpc" (the library, in this process or in the server) or "gateway"
    statuses: tuple[str, ...]
    sentence: re.Pattern[str]
    meaning: Meaning


def _row(author: str, statuses: str, sentence: str, meaning: Meaning) -> Row:
    return Row(author, tuple(statuses.split()), re.compile(sentence, re.DOTALL), meaning)


_LOST = "UNAVAILABLE UNKNOWN INTERNAL"
TABLE = (
    # Over HTTP the status is 403, which says it without the sentence.
    _row(
        "triton",
        "UNAVAILABLE",
        r"This protocol is restricted, expecting header '[^']*'",
        Meaning.RESTRICTED,
    ),
    _row(
        "triton",
        "503 UNAVAILABLE",
        r"explicit model load / unload is not allowed if polling is enabled",
        Meaning.NO_EXPLICIT_CONTROL,
    ),
    # Servers before 2.4x answer 400 and UNAVAILABLE.
    _row(
        "triton",
        "404 NOT_FOUND 400 UNAVAILABLE",
        r"Request for unknown model: '[^']*'( version -?\d+)? (is not found|has no available versions)",
        Meaning.NO_MODEL,
    ),
    _row("triton", "400 INVALID_ARGUMENT", r"requested model '[^']*' is not available", Meaning.NO_MODEL),
    _row(
        "triton",
        "400 409 ALREADY_EXISTS",
        r"shared memory region '[^']*' already in manager",
        Meaning.REGION_IS_REGISTERED,
    ),
    _row(
        "triton",
        "404 400 NOT_FOUND INVALID_ARGUMENT",
        r"Unable to find shared memory region: '[^']*'",
        Meaning.REGION_IS_UNKNOWN,
    ),
    _row(
        "triton",
        "500 INTERNAL",
        r"Cannot unregister shared memory region '[^']*', it is currently in use\.",
        Meaning.REGION_IS_IN_USE,
    ),
    _row(
        "triton",
        "500 INTERNAL",
        r"shared memory size specified with the request for output '[^']*' \(\d+ bytes\) should be at least \d+ bytes "
        r"to hold the results",
        Meaning.REGION_IS_TOO_SMALL,
    ),
    _row(
        "grpc",
        "RESOURCE_EXHAUSTED",
        r"(\w+: )?(Received|Sent|Decompressed) message larger than max( \(\d+ vs\. \d+\))?",
        Meaning.TOO_LARGE,
    ),
    _row("gateway", "RESOURCE_EXHAUSTED", r"The (request is|headers are) larger than allowed\.", Meaning.TOO_LARGE),
    _row("gateway", "RESOURCE_EXHAUSTED", r"Too many requests; try again later\.", Meaning.TOO_MANY),
    _row("grpc", _LOST, r"failed to connect to all addresses; last error: .*http1\.x.*", Meaning.ANOTHER_PROTOCOL),
    _row(
        "grpc",
        _LOST,
        r"failed to connect to all addresses; last error: .*(Invalid HTTP1 response|missing selected ALPN).*",
        Meaning.ANOTHER_PROTOCOL,
    ),
    _row(
        "grpc",
        "UNAVAILABLE",
        r"(failed to connect to all (addresses|subchannels)|errors resolving |DNS resolution failed for ).*",
        Meaning.NOT_CONNECTED,
    ),
    _row(
        "grpc",
        _LOST,
        r"(recvmsg|sendmsg):.*|(Received )?GOAWAY( .*)?|((Client|Server) )?transport closed.*"
        r"|(Stream removed|Socket closed|Endpoint closing|keepalive watchdog timeout|ping timeout|Connection reset"
        r"( by peer)?|Broken pipe|Connection timed out)( \(.*\))?",
        Meaning.CONNECTION_BROKE,
    ),
    _row("grpc", "UNIMPLEMENTED", r"(Method not found!)?", Meaning.ANOTHER_SERVICE),
    _row(
        "grpc",
        "UNAVAILABLE UNKNOWN INTERNAL UNIMPLEMENTED UNAUTHENTICATED PERMISSION_DENIED DEADLINE_EXCEEDED",
        r"Received http2 header with status: (\d+)",
        Meaning.HTTP_STATUS,
    ),
)


def meaning_of(status: str, sentence: str) -> Meaning | None:
    """What the sentence means in that status; None for a sentence of a model's or one that needs no telling apart."""
    return next((row.meaning for row in TABLE if status in row.statuses and row.sentence.fullmatch(sentence)), None)


def http_status_in(sentence: str) -> str:
    """The status of an answer in plain HTTP, out of gRPC's sentence about it; empty where it is another sentence."""
    row = next(row for row in TABLE if row.meaning is Meaning.HTTP_STATUS)
    match = row.sentence.fullmatch(sentence)
    return match[1] if match else ""
