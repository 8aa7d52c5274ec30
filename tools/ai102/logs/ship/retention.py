"""Old indices are deleted, whole days at a time: OpenSearch without its ISM plugin does not do it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ai102.logs.ship.index import PREFIX, Index

NAME = re.compile(rf"{PREFIX}-(\d{{4}}\.\d\d\.\d\d)")


def expire(index: Index, keep_days: int, now: datetime, say: Callable[[str], None]) -> list[str]:
    """Delete the indices of days that ended `keep_days` ago or earlier; gives their names. Raises RefusedError."""
    deleted = [name for name in index.indices() if is_over(name, keep_days, now)]
    for name in deleted:
        index.delete(name)
        say(f"deleted {name}: older than {keep_days} days")
    return deleted


def is_over(name: str, keep_days: int, now: datetime) -> bool:
    """Whether the index is ours and its day ended `keep_days` before `now`."""
    match = NAME.fullmatch(name)
    try:
        day = datetime.strptime(match[1], "%Y.%m.%d").replace(tzinfo=UTC) if match else None
    except ValueError:
        return False
    return day is not None and day + timedelta(days=1 + keep_days) <= now
