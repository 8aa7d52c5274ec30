"""What one release of tritonserver reads and another refuses: the one place that knows.

A config.pbtxt with a field the server does not know is refused whole, so a field is only written for servers that
have it.
"""

from __future__ import annotations

# By field of config.pbtxt: the first release that reads it. Triton's release notes.
SINCE = {
    "model_metrics": (2, 52),
    "max_inflight_requests": (2, 64),
}


def has_field(triton: str, field: str) -> bool:
    """Whether the server of that version, such as "2.51", reads a field of a model's config."""
    return tuple(int(part) for part in triton.split(".")) >= SINCE.get(field, (0,))
