"""Records of live answers as a pod of Triton sends them, checked line by line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from ai102_runtime.recording import ID, MOST_LABEL, MOST_ROWS, MOST_SCORE, MOST_SENT, SKETCH

Side = Literal["canary", "primary"]
ERRORS = ("refused", "failed")
MAX_BODY = 2 << 20  # MOST_SENT records of MOST_ROWS sketches have 0.7 MB
MODEL = re.compile(r"[A-Za-z0-9_.-]{1,128}")
HOST = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TRACE_DIGIT = 14
MOST_DROPPED = 10**12
MOST_BYTES = 10**15


class Row(NamedTuple):
    """The answer to one row of a call."""

    label: str | None
    score: float | None
    sketch: tuple[float, ...] | None  # [SKETCH]


class Record(NamedTuple):
    """What a call was answered: rows, or else one of ERRORS."""

    request_id: str
    model: str
    rows: tuple[Row, ...]
    error: str = ""


class Batch(NamedTuple):
    """Records of a model's process in a pod, and how many it had to drop since the last batch that was taken."""

    host: str
    dropped: int
    records: tuple[Record, ...]
    model: str = ""
    resident_bytes: int = 0  # of its memory, in use; 0: not known


def batch_of(body: bytes) -> Batch:
    """Read lines of JSON: {"host", "dropped"}, then records. Raises ValueError with one sentence."""
    lines = body.split(b"\n")
    if len(lines) > MOST_SENT + 1:
        raise ValueError(f"{len(lines) - 1} records, wanted {MOST_SENT} at most")
    head = _object(lines[0], 1)
    host, model = head.get("host"), head.get("model", "")
    if not isinstance(host, str) or not HOST.fullmatch(host):
        raise ValueError("line 1: host is missing, or no name of a pod")
    dropped = _count(head, "dropped", MOST_DROPPED, "records")
    resident_bytes = _count(head, "resident_bytes", MOST_BYTES, "bytes")
    if model and not (isinstance(model, str) and MODEL.fullmatch(model)):
        raise ValueError("line 1: model is no name of a model")
    records = tuple(_record(line, number) for number, line in enumerate(lines[1:], start=2))
    return Batch(host, dropped, records, model, resident_bytes)


def _record(line: bytes, number: int) -> Record:
    fields = _object(line, number)
    request_id, model = fields.get("id"), fields.get("model")
    if not isinstance(request_id, str) or not ID.fullmatch(request_id):
        raise ValueError(f"line {number}: id is missing, or no id of a request")
    if not isinstance(model, str) or not MODEL.fullmatch(model):
        raise ValueError(f"line {number}: model is missing, or no name of a model")
    if "error" in fields:
        if fields["error"] not in ERRORS:
            raise ValueError(f"line {number}: error is none of {', '.join(ERRORS)}")
        return Record(shared_id(request_id), model, (), fields["error"])
    rows = fields.get("rows")
    if not isinstance(rows, list) or len(rows) > MOST_ROWS:
        raise ValueError(f"line {number}: rows is missing, or no list of {MOST_ROWS} at most")
    return Record(shared_id(request_id), model, tuple(_row(row, number) for row in rows))


def _row(row: Any, number: int) -> Row:
    if isinstance(row, list) and len(row) == 3:
        label, score, sketch = row
        is_label = label is None or (isinstance(label, str) and len(label) <= MOST_LABEL)
        is_score = score is None or _is_number(score)
        is_sketch = sketch is None or (
            isinstance(sketch, list) and len(sketch) == SKETCH and all(map(_is_number, sketch))
        )
        if is_label and is_score and is_sketch:
            return Row(label, score, None if sketch is None else tuple(sketch))
    raise ValueError(f"line {number}: a row is no [label, score, sketch of {SKETCH} numbers]")


def _object(line: bytes, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as err:
        raise ValueError(f"line {number} is no JSON") from err
    if not isinstance(value, dict):
        raise ValueError(f"line {number} is no JSON object")
    return value


def _count(head: Mapping[str, Any], name: str, most: int, of: str) -> int:
    value = head.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"line 1: {name} is no number of {of}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -MOST_SCORE <= value <= MOST_SCORE


def shared_id(request_id: str) -> str:
    """The id without the digit in which each Envoy notes whether it traces the call: a copy's may differ there."""
    if UUID.fullmatch(request_id):
        return request_id[:TRACE_DIGIT] + "4" + request_id[TRACE_DIGIT + 1 :]
    return request_id


def side_of(host: str, name: str) -> Side | None:
    """Whose pod it is, by the Deployment NAME on trial and Flagger's copy of it, NAME-primary; None: another's."""
    found = re.fullmatch(rf"{re.escape(name)}(-primary)?-[0-9a-z]+-[0-9a-z]+", host)
    if found is None:
        return None
    return "primary" if found[1] else "canary"
