"""What is asked when Prometheus does: calls in flight, the replicas' states, when certificates expire."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ai102.access_log.outcomes import OTHER
from ai102.errors import UserError
from ai102.gateway import certs
from ai102.gateway.policy import Gateway


class Asking(Collector):
    """Asks the running proxy at each scrape; `gateway` may be set to another policy meanwhile.

    A proxy that does not answer gives ai102_gateway_up 0 and no figures of replicas: none is better than old ones.
    """

    def __init__(self, gateway: Gateway, home: Path, proxy: ModuleType, pipelines: Iterable[str]) -> None:
        self.gateway = gateway
        self._home, self._proxy, self._pipelines = home, proxy, tuple(pipelines)

    def describe(self) -> list[Metric]:
        return []  # the registry would ask `collect` for them, before the proxy runs

    def collect(self) -> Iterator[Metric]:
        yield self._expiry()
        gateway = self.gateway
        up = GaugeMetricFamily("ai102_gateway_up", "Whether the proxy answers.")
        try:
            states = self._proxy.states(gateway, self._home)
            in_flight = self._proxy.in_flight(self._home)
        except (UserError, OSError):
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield self._in_flight(in_flight)
        if gateway.triton.dns is not None:
            yield GaugeMetricFamily(
                "ai102_gateway_replicas_expected", "So many replicas DNS should tell, or more.",
                value=gateway.triton.dns.expected,
            )  # fmt: skip
        for name, help_text, field in (
            ("up", "Whether the replica's health checks succeed.", "is_up"),
            ("drained", "Whether the replica is kept from new calls on purpose.", "is_drained"),
            ("in_flight", "Requests at the replica now.", "busy"),
        ):
            family = GaugeMetricFamily(f"ai102_gateway_replica_{name}", help_text, labels=["replica"])
            for state in states:
                family.add_metric([state.name], float(getattr(state, field)))
            yield family

    def _in_flight(self, in_flight: Counter[str]) -> Metric:
        family = GaugeMetricFamily(
            "ai102_gateway_in_flight", "Inferences between the gateway's judgement and the end of the answer.",
            labels=["pipeline"],
        )  # fmt: skip
        for pipeline in self._pipelines:
            family.add_metric([pipeline], in_flight[pipeline])
        family.add_metric([OTHER], sum(count for name, count in in_flight.items() if name not in self._pipelines))
        return family

    def _expiry(self) -> Metric:
        family = GaugeMetricFamily(
            "ai102_certificate_expiry_timestamp_seconds", "When the certificate's file expires.", labels=["certificate"]
        )
        tls = self.gateway.tls
        for name, file in (("server", tls.certificate), ("client_ca", tls.client_ca)):
            if file is not None:
                try:
                    family.add_metric([name], certs.expiry(self._home / file).timestamp())
                except (UserError, OSError):
                    family.add_metric([name], 0)  # none that could be used: as bad as one that is over
        return family
