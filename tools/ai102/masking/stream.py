"""Lines of a log through the masker: bytes in, masked bytes out; a JSON object stays a JSON object."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from ai102.masking.logs import failure
from ai102.masking.masker import Masker


def masked_line(masker: Masker, line: bytes) -> bytes:
    """The line masked, with the end it has; bytes that are not UTF-8 stay as they are.

    A line that is a JSON object is masked as a record: escapes in its strings are read first, and a number that is
    masked becomes a string. Where nothing is masked the line stays as it is; else it is written anew, numbers as Python
    prints them. A line that cannot be masked is replaced by one that says so, a JSON object by a JSON object.
    """
    content = line.rstrip(b"\r\n")
    try:
        text = _text(content)
        record = record_from_text(text)
        masked = masker.mask(text) if record is None else _masked_json(masker, text, record)
        return masked.encode("utf-8", "surrogateescape") + line[len(content) :]
    except Exception as err:  # noqa: BLE001  whatever the defect, the line must not be lost and must not leak
        mark = json.dumps({"message": failure(err)}) if content.lstrip().startswith(b"{") else failure(err)
        return mark.encode() + line[len(content) :]


def check(masker: Masker, lines: Iterable[bytes], counts: Counter[str]) -> Iterator[str]:
    """One line for everything that would be masked: place, kind, what is there, its mark. Counts by kind."""
    for number, line in enumerate(lines, 1):
        text = _text(line)
        for match in masker.find(text):
            counts[match.kind] += 1
            yield f"{number}:{match.start + 1} {match.kind} {text[match.start : match.end]!r} -> {match.mark}"


def _masked_json(masker: Masker, text: str, record: dict[str, Any]) -> str:
    masked = masker.mask_record(record)
    return text if masked == record else _written_like(text, masked)


def record_from_text(text: str) -> dict[str, Any] | None:
    """The JSON object that `text` is; None for anything else, also for an object that has a key twice."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        record: dict[str, Any] = json.loads(text, object_pairs_hook=_dict_from_pairs, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return record


def _dict_from_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key stands there twice")  # the dict would drop a value unmasked and unseen
    return record


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _written_like(text: str, record: dict[str, Any]) -> str:
    """The record as JSON, with spaces and letters beyond ASCII where `text` has them."""
    separators = (", ", ": ") if '": ' in text else (",", ":")
    written = json.dumps(record, ensure_ascii=text.isascii(), separators=separators, allow_nan=False)
    if any("\ud800" <= character <= "\udfff" for character in written):  # half a character, which UTF-8 cannot write
        written = json.dumps(record, separators=separators, allow_nan=False)
    return written


def _text(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")
