"""When the key that signs is due to be rotated, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ai102.errors import UserError
from ai102.issuer.keys import Keys


class KeyAges(Collector):
    """Asked at each scrape, since another process may rotate. Keys that cannot be read are due now."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "ai102_signing_key_expiry_timestamp_seconds", "When the key that signs is due to be rotated.",
            labels=["key"],
        )  # fmt: skip
        try:
            due_s = self._keys.due_s()
        except (UserError, OSError):
            due_s = {"unreadable": 0.0}
        for kid, when_s in due_s.items():
            family.add_metric([kid], when_s)
        yield family
