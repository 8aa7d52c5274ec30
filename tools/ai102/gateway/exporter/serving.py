"""The exporter: counts what the proxy logs and answers Prometheus on listen.metrics."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics, start_http_server
from prometheus_client.registry import Collector

from ai102.contract.serving import Goals
from ai102.gateway.exporter.asking import Asking
from ai102.gateway.exporter.counting import Counting
from ai102.gateway.policy import Gateway
from ai102.host.listen import check_free, host_and_port


class Exporter:
    """One for as long as the gateway is held open, over every restart of the proxy."""

    def __init__(
        self,
        gateway: Gateway,
        home: Path,
        proxy: ModuleType,
        goals: Mapping[str, Goals],
        others: Iterable[Collector] = (),
    ) -> None:
        """`others` are metrics that somebody else counts, shown with these."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody asks for
        registry = CollectorRegistry()
        self._counting = Counting(registry, goals)
        self._asking = Asking(gateway, home, proxy, goals)
        registry.register(self._asking)
        ProcessCollector(registry=registry)
        for collector in others:
            registry.register(collector)
        self._registry = registry
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None
        self._address = ""

    def take(self, lines: bytes) -> None:
        """Whole lines of the access log."""
        self._counting.take(lines)

    def follow(self, gateway: Gateway) -> None:
        """Answer on this policy's address, about its replicas; UserError when the address is taken."""
        self._asking.gateway = gateway
        if gateway.listen.metrics == self._address:
            return
        check_free(gateway.listen.metrics, "gateway.toml: listen.metrics")
        self.stop()
        host, port = host_and_port(gateway.listen.metrics)
        self._server, self._thread = start_http_server(port, host, registry=self._registry)
        self._address = gateway.listen.metrics

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self._server = self._thread = None
        self._address = ""
