"""The bytes of a health check over gRPC, for HAProxy 2.6: its own checks over HTTP/2 send no message.

A client's whole connection (RFC 9113): preface, settings, and one call of Triton's ServerReady. Header fields stand in
it without compression (RFC 7541, 6.2.2), some by their number in HPACK's static table.
"""

from __future__ import annotations

SETTINGS, HEADERS, DATA = 4, 1, 0
END_HEADERS, END_STREAM = 4, 1


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _text(value: str) -> bytes:
    return bytes((len(value),)) + value.encode()


_FIELDS = (
    b"\x83"  # :method: POST
    b"\x86"  # :scheme: http
    b"\x04" + _text("/inference.GRPCInferenceService/ServerReady")  # :path
    + b"\x01" + _text("triton")  # :authority
    + b"\x0f\x10" + _text("application/grpc")  # content-type
    + b"\x00" + _text("te") + _text("trailers")
)  # fmt: skip
# A message of no bytes, after the five that say so.
SERVER_READY = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + _frame(SETTINGS, 0, 0)
    + _frame(HEADERS, END_HEADERS, 1, _FIELDS)
    + _frame(DATA, END_STREAM, 1, bytes(5))
)
# The answer's message: ready = true. One that is not ready is left out by protobuf.
IS_READY = b"\0\0\0\0\2\x08\1"
