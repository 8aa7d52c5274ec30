"""What one request may take of the API, and how many requests it takes on at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one request, and of all of them together."""

    max_files: int = 32
    max_file_bytes: int = 8 << 20
    max_upload_bytes: int = 32 << 20  # the whole form
    max_filename_chars: int = 255
    max_texts: int = 32
    max_text_chars: int = 16_384
    max_json_bytes: int = 1 << 20
    part_timeout_s: float = 5.0  # until the next part of a body
    upload_timeout_s: float = 60.0  # until a body is whole
    deadline_s: float = 10.0  # from the whole request to the answer, the wait for a turn included
    max_calls: int = 16  # asked of Triton at once
    max_waiting: int = 112  # requests beside those, uploading or waiting for their turn
    max_held_bytes: int = 512 << 20  # of bodies, over all requests
