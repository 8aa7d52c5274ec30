"""Sends spans to a collector from a thread of its own; whoever has a span never waits."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import httpx

from ai102.tracing.spans import Span, Value, request_from_spans

QUEUE_SPANS = 4096
BATCH_SPANS = 512
# A span waits so long for others to be sent with it.
GATHER_S = 0.5
LOOK_EVERY_S = 0.1
REQUEST_TIMEOUT_S = 5.0
# A batch that the collector does not take now is tried again, at growing distances, for so long.
FIRST_PAUSE_S, LONGEST_PAUSE_S, KEEP_S = 0.5, 8.0, 30.0
# What OTLP's specification calls worth another try.
RETRYABLE = frozenset({429, 502, 503, 504})
REPORT_EVERY_S = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Counts:
    """What became of the spans so far."""

    sent: int
    dropped: int


class Exporter:
    """One collector, at `url` as http://HOST:4318; use it as a context manager, or call `close`.

    `resource` are the attributes of all spans; `mask` goes over the text of each, as over a line of a log. What the
    queue has no place for, or the collector does not take, is dropped and counted; `say` gets a line of it, at most one
    a minute.
    """

    def __init__(
        self,
        url: str,
        resource: Mapping[str, Value],
        say: Say,
        *,
        mask: Callable[[str], str] = str,
        queue_spans: int = QUEUE_SPANS,
        gather_s: float = GATHER_S,
    ) -> None:
        self.url = f"{url.rstrip('/')}/v1/traces"
        self._resource, self._say, self._mask, self._gather_s = resource, say, mask, gather_s
        self._waiting: queue.Queue[Span | None] = queue.Queue(queue_spans)  # None wakes the thread
        self._closing = threading.Event()
        self._sent = self._dropped = self._reported = 0
        self._reports_from = 0.0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def add(self, span: Span) -> None:
        """Returns at once."""
        try:
            self._waiting.put_nowait(span)
        except queue.Full:
            self._count(dropped=1)

    @property
    def counts(self) -> Counts:
        with self._lock:
            return Counts(self._sent, self._dropped)

    def close(self, within_s: float = 2.0) -> None:
        """Send what is waiting, if that takes no longer than `within_s`."""
        self._closing.set()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(within_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        # No proxy of the environment: a collector stands in the same network.
        with httpx.Client(timeout=REQUEST_TIMEOUT_S, trust_env=False) as client:
            while not (self._closing.is_set() and self._waiting.empty()):
                if batch := self._batch():
                    problem = self._problem_with(client, batch)
                    self._count(sent=0 if problem else len(batch), dropped=len(batch) if problem else 0)
                    self._report(problem)

    def _batch(self) -> list[Span]:
        """Waits for a span, and for those that come soon after it: as many as one request takes."""
        batch = [self._waiting.get()]
        ends = time.monotonic() + self._gather_s
        # Not woken by each of them: that costs the threads that answer calls more than all else here.
        while self._waiting.qsize() < BATCH_SPANS - 1 and (left := ends - time.monotonic()) > 0:
            if self._closing.wait(min(left, LOOK_EVERY_S)):
                break
        while len(batch) < BATCH_SPANS:
            try:
                batch.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return [span for span in batch if span is not None]

    def _problem_with(self, client: httpx.Client, batch: list[Span]) -> str:
        """Why the collector did not take the batch in all the time it had; empty when it did."""
        request = request_from_spans([self._masked(span) for span in batch], self._resource)
        gives_up, pause_s = time.monotonic() + KEEP_S, FIRST_PAUSE_S
        while True:
            try:
                status = client.post(self.url, json=request).status_code
            except httpx.HTTPError as err:
                problem, is_final = f"{type(err).__name__}: {err}", False
            else:
                if status < 300:
                    return ""
                problem, is_final = f"HTTP {status}", status not in RETRYABLE
            if is_final or time.monotonic() + pause_s > gives_up or self._closing.wait(pause_s):
                return problem
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _masked(self, span: Span) -> Span:
        text = self._mask(json.dumps([span.name, span.error, span.attributes]))
        try:
            name, error, attributes = json.loads(text)
        except ValueError:  # what the masker writes of its own defect: nothing of the span may be told
            name, error, attributes = text, "", {}
        return replace(span, name=name, error=error, attributes=attributes)

    def _count(self, sent: int = 0, dropped: int = 0) -> None:
        with self._lock:
            self._sent += sent
            self._dropped += dropped

    def _report(self, problem: str) -> None:
        lost, now = self.counts.dropped - self._reported, time.monotonic()
        if lost and now >= self._reports_from:
            why = problem or "more came than the collector takes"
            self._say(f"traces: {lost} spans were dropped: {self.url}: {why}; calls are not affected")
            self._reported += lost
            self._reports_from = now + REPORT_EVERY_S


@contextmanager
def exporter_for(service: str, collector: str, say: Say, mask: Callable[[str], str] = str) -> Iterator[Exporter | None]:
    """What takes the spans of a service, if there is a collector for them."""
    if not collector:
        yield None
        return
    resource: dict[str, Value] = {"service.name": service, "service.instance.id": socket.gethostname()}
    with Exporter(collector, resource, say, mask=mask) as exporter:
        yield exporter
