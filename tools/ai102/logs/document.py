"""A document of the Elastic Common Schema, made from a row by a table: which key gives which field, in which type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

Document = dict[str, Any]
ECS_VERSION = "8.11.0"
LONGEST_KEYWORD = 1024
MONTH_DAY_CLOCK = "%Y%m%d %H:%M:%S.%f"
EARLY = timedelta(days=1)
LONG_AGO = 2000


class Field(NamedTuple):
    """`key`: of the row, with dots into objects in it. `name`: of the document. `read` gives None where it must be text
    or a number and is not."""

    key: str
    name: str
    read: Callable[[Any], Any]


def put(document: Document, name: str, value: Any) -> None:
    """Set the field with this dotted name; None and "" set nothing."""
    if value is None or value == "":
        return
    *parents, last = name.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
    document[last] = value


def put_fields(document: Document, fields: Iterable[Field], row: Mapping[str, Any]) -> None:
    """Set all fields that the row has in the type that they must have."""
    for field in fields:
        value: Any = row
        for key in field.key.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            put(document, field.name, field.read(value))


def text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def keyword(value: Any) -> str | None:
    """A text, cut where the index would leave it out."""
    return value[:LONGEST_KEYWORD] if isinstance(value, str) else None


def shown(value: Any) -> str | None:
    """A number or a truth as a keyword."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else keyword(value)


def count(value: Any) -> int | None:
    """A number that is not negative; HAProxy writes -1 for what did not happen, and some numbers as texts."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 16:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def milliseconds(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < 1e12 else None


def nanoseconds(value: Any) -> int | None:
    """`event.duration`, from milliseconds."""
    duration_ms = milliseconds(value)
    return None if duration_ms is None else round(duration_ms * 1e6)


def moment(value: Any) -> datetime | None:
    """ISO 8601 as a moment in UTC; without an offset it is UTC already."""
    try:
        parsed = datetime.fromisoformat(value.replace(",", ".")) if isinstance(value, str) else None
    except ValueError:
        return None
    if parsed is None:
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def moment_without_year(month_and_day: str, clock: str, near: datetime) -> datetime | None:
    """Triton writes no year: the one that puts the moment nearest to `near`, when the line was read or written."""
    candidates = []
    for year in (near.year - 1, near.year, near.year + 1):
        try:
            candidates.append(datetime.strptime(f"{year}{month_and_day} {clock}", MONTH_DAY_CLOCK).replace(tzinfo=UTC))
        except ValueError:  # no day of that year, or of none
            continue
    return min(candidates, key=lambda candidate: abs(candidate - near), default=None)


def timestamp(stated: datetime | None, read_at: datetime) -> str:
    """`@timestamp`: what the line states, unless it lies in the future or before all logs: then when it was read."""
    chosen = stated if stated and stated.year > LONG_AGO and stated <= read_at + EARLY else read_at
    return chosen.strftime("%Y-%m-%dT%H:%M:%S.") + f"{chosen.microsecond:06d}Z"
