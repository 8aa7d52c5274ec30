"""W3C Trace Context: the header traceparent read and written, and new ids."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

# Of version 00; whoever writes a later one begins with the same fields.
TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
LONGEST = 512


@dataclass(frozen=True)
class Context:
    """A span's place: its trace, its own id, and whether the trace is sampled."""

    trace_id: str
    span_id: str
    is_sampled: bool

    @property
    def traceparent(self) -> str:
        """The header that makes what it is sent to a child of this span."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_sampled else '00'}"


def context_from(traceparent: str) -> Context | None:
    """The caller's span; None when this is no traceparent."""
    match = TRACEPARENT.fullmatch(traceparent) if len(traceparent) <= LONGEST else None
    if match is None or (match[1] == "00" and match[5]):
        return None
    return Context(match[2], match[3], int(match[4], 16) % 2 == 1)


def new_trace_id() -> str:
    """16 bytes in hexadecimal; never zero, which W3C forbids."""
    return secrets.token_hex(16)


def new_span_id() -> str:
    """8 bytes in hexadecimal."""
    return secrets.token_hex(8)
