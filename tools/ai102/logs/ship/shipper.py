"""Sends the spool to the index until a signal: in batches, again after failures, its checkpoint behind each answer.

The `_id` of a document is its `event.id`, of its file and place: what is sent twice is there once.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ai102.artifact import sha256_of_text, write_bytes
from ai102.logs.ship import retention
from ai102.logs.ship.index import PREFIX, Action, Index, RefusedError, Result
from ai102.logs.ship.reading import Batch, Reader

BATCH_LINES, BATCH_BYTES = 2000, 4 << 20
IDLE_S, FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 0.5, 30.0
EXPIRE_EVERY_S, SAY_EVERY_S = 3600.0, 60.0
BLOCKED = 403  # an index that takes nothing for now, such as one on a full disk
LEFT_OUT = "left-out.jsonl"
Say = Callable[[str], None]


class Shipper:
    """`stop` ends it between two requests."""

    def __init__(self, reader: Reader, index: Index, folder: Path, stop: threading.Event, say: Say) -> None:
        self._reader, self._index, self._folder, self._stop, self._say = reader, index, folder, stop, say
        self._failures = 0
        self._said_at_s = -SAY_EVERY_S

    def run(self, keep_days: int) -> None:
        """Until `stop` is set. RefusedError when the index refuses for good what it must know first."""
        self._until_done(self._index.put_template)
        expire_at_s = 0.0
        while not self._stop.is_set():
            if time.monotonic() >= expire_at_s:
                self._until_done(lambda: retention.expire(self._index, keep_days, datetime.now(UTC), self._say))
                expire_at_s = time.monotonic() + EXPIRE_EVERY_S
            batch = self._reader.next_batch(BATCH_LINES, BATCH_BYTES)
            if batch is None:
                self._stop.wait(IDLE_S)
            elif self._is_sent(batch):
                self._reader.shipped(batch.end)

    def _is_sent(self, batch: Batch) -> bool:
        """Whether every line is in the index, or left out for good; false when `stop` came first."""
        actions = [action_from_line(line) for line in batch.lines]
        while actions and not self._stop.is_set():
            try:
                results = self._index.bulk(actions)
            except RefusedError as err:
                if (
                    not err.is_passing and len(actions) > 1
                ):  # one document that no JSON reader takes, or too much at once
                    half = len(actions) // 2
                    return all(self._are_sent(part) for part in (actions[:half], actions[half:]))
                if not err.is_passing:
                    self._leave_out(actions[0], str(err))
                    return True
                self._wait(str(err))
                continue
            again = [kept for pair in zip(actions, results, strict=True) if (kept := self._kept(*pair))]
            if again and len(again) == len(actions):
                self._wait(f"{self._index.url} takes none of {len(again)} documents: {results[0].reason}")
            else:
                self._failures = 0
            actions = again
        return not actions

    def _are_sent(self, actions: list[Action]) -> bool:
        return self._is_sent(Batch([action.document for action in actions], self._reader.place))

    def _kept(self, action: Action, result: Result) -> Action | None:
        """What is to be sent again in the place of a document; None for one that is done with."""
        if result.status < 300:
            return None
        if result.status in (BLOCKED, 429) or result.status >= 500:
            return action
        reduced = reduced_action(action, result.reason)
        if reduced.document == action.document:
            self._leave_out(action, result.reason)
            return None
        return reduced

    def _leave_out(self, action: Action, reason: str) -> None:
        """What the index takes in no form stays on this disk, and is not sent again."""
        self._say(f"a document is not in the index, but in {self._folder / LEFT_OUT}: {reason}")
        file = self._folder / LEFT_OUT
        before = file.read_bytes() if file.exists() else b""
        write_bytes(file, before + action.document + b"\n")

    def _until_done(self, ask: Callable[[], object]) -> None:
        while not self._stop.is_set():
            try:
                ask()
                self._failures = 0
                return
            except RefusedError as err:
                if not err.is_passing:
                    raise
                self._wait(str(err))

    def _wait(self, why: str) -> None:
        """Twice as long after each failure, and not in step with other shippers."""
        wait_s = min(FIRST_WAIT_S * 2 ** min(self._failures, 10), LONGEST_WAIT_S)
        self._failures += 1
        if time.monotonic() - self._said_at_s >= SAY_EVERY_S:
            self._said_at_s = time.monotonic()
            self._say(f"{why}; tried again until it works, {self._reader.left_bytes()} bytes wait in the spool")
        self._stop.wait(wait_s * random.uniform(0.5, 1.0))


def action_from_line(line: bytes) -> Action:
    """A line of the spool for the index of its day; one that is no document of ours becomes a document about it."""
    try:
        document = json.loads(line)
        return Action(index_of(document["@timestamp"]), document["event"]["id"], line)
    except (ValueError, KeyError, TypeError):
        text = line.decode("utf-8", "replace")
        return _about(text, datetime.now(UTC).isoformat(), f"spool-{sha256_of_text(text)[:16]}", "no document of ours")


def index_of(time_: str) -> str:
    """Of its day, as retention and Fluent Bit name it."""
    return f"{PREFIX}-{time_[:10].replace('-', '.')}"


def reduced_action(action: Action, reason: str) -> Action:
    """The same line as a plain text, for a document that does not fit the index; what is reduced already stays so."""
    document: dict[str, Any] = json.loads(action.document)
    if document.get("event", {}).get("dataset") == "ai102.refused":
        return action
    return _about(action.document.decode("utf-8"), document["@timestamp"], action.id, reason)


def _about(text: str, time_: str, event_id: str, reason: str) -> Action:
    document = {
        "@timestamp": time_,
        "event": {"id": event_id, "kind": "event", "dataset": "ai102.refused", "original": text},
        "message": text,
        "log": {"level": "error"},
        "error": {"message": reason},
        "service": {"name": "shipper"},
    }
    return Action(index_of(time_), event_id, json.dumps(document).encode())
