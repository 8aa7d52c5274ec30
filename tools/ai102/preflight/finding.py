"""What one check says, and the words that several checks use."""

from __future__ import annotations

import re
from typing import NamedTuple

# Memory and disks are sold in GB and shown in GiB; /dev/shm and Triton's pools are counted in MB of 2^20 bytes.
GB, GIB, MB = 10**9, 1 << 30, 1 << 20


class Finding(NamedTuple):
    """What was found, what is wanted, and what to do where that is not met."""

    found: str
    wanted: str
    is_met: bool
    advice: str = ""


def gigabytes(size: int) -> str:
    return f"{size / GB:.1f} GB"


def both_gigabytes(size: int) -> str:
    """Memory is sold in one unit and shown in the other."""
    return f"{gigabytes(size)} ({size / GIB:.1f} GiB)"


def megabytes(size: int) -> str:
    return f"{size / MB:,.0f} MB"


def plain(number: float) -> str:
    """8, not 8.0, but 1.5."""
    return f"{number:.2f}".rstrip("0").rstrip(".")


def version(text: str) -> tuple[int, ...]:
    """The leading numbers of a version, such as (20, 10, 24) of "20.10.24+dfsg1"."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
