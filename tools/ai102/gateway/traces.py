"""The gateway's own spans, made of the rows of its log while `ai102 gateway run` reads them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from ai102.gateway.policy import Traces
from ai102.tracing.exporter import Counts, Exporter
from ai102.tracing.rows import Rows


class GatewaySpans:
    """Takes the lines that the thread of the log reads, and is never slow; another thread may call `follow`."""

    def __init__(
        self, traces: Traces, proxy: str, say: Callable[[str], None], mask: Callable[[str], str] = str
    ) -> None:
        self._say, self._mask = say, mask
        self._resource = {"service.name": "gateway", "service.instance.id": socket.gethostname(), "ai102.proxy": proxy}
        self._traces = Traces()
        self._former, self._lock = Counts(0, 0), threading.Lock()  # of collectors named before
        self._exporter: Exporter | None = None
        self._rows: Rows | None = None
        self.follow(traces)

    def take(self, lines: bytes) -> None:
        """Whole lines of the access log."""
        if (rows := self._rows) is not None:
            rows.take(lines)

    @property
    def counts(self) -> Counts:
        """What became of all spans so far, whichever collector they were for; any thread may ask."""
        with self._lock:
            return self._sum()

    def _sum(self) -> Counts:
        now = self._exporter.counts if self._exporter else Counts(0, 0)
        return Counts(self._former.sent + now.sent, self._former.dropped + now.dropped)

    def follow(self, traces: Traces) -> None:
        """Send to this policy's collector from now on, or to none."""
        if traces.collector != self._traces.collector:
            self.close()
            with self._lock:
                self._former = self._sum()
                self._exporter = self._exporter_to(traces.collector) if traces.collector else None
        self._rows = Rows(self._exporter.add, traces.slow_ms) if self._exporter else None
        self._traces = traces

    def _exporter_to(self, collector: str) -> Exporter:
        return Exporter(collector, self._resource, self._say, mask=self._mask)

    def close(self) -> None:
        """Send what is waiting, within two seconds."""
        self._rows = None
        if self._exporter is not None:
            self._exporter.close()
