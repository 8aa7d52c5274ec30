"""HTTP/2 as it lies on the wire, for senders that lay it as no client does."""

from collections.abc import Sequence

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 1, 4
STREAM = 1


def frame(kind: int, flags: int, payload: bytes, stream: int = STREAM) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def opening() -> bytes:
    """What a client sends first."""
    return PREFACE + frame(SETTINGS, 0, b"", stream=0)


def headers(fields: Sequence[tuple[str, str]]) -> bytes:
    """The request's head: literals that no table keeps (RFC 7541, 6.2.2)."""
    block = b"".join(b"\x00" + _string(name) + _string(value) for name, value in fields)
    return frame(HEADERS, END_HEADERS, block)


def data(body: bytes, step: int) -> bytes:
    """The body in frames of `step` bytes, the last of which ends the stream."""
    parts = [body[at : at + step] for at in range(0, len(body), step)]
    return b"".join(frame(DATA, 0, part) for part in parts) + frame(DATA, END_STREAM, b"")


def _string(text: str) -> bytes:
    content, length = text.encode(), bytearray()
    left = len(content)
    if left < 127:
        return bytes([left]) + content
    length.append(127)
    left -= 127
    while left > 127:
        length.append(left & 127 | 128)
        left >>= 7
    length.append(left)
    return bytes(length) + content
