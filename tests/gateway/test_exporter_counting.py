"""The exporter counts what it reads, and no caller can make it count under a name of their own."""

import json

from prometheus_client import CollectorRegistry

from ai102.contract.serving import Goals
from ai102.gateway.exporter.counting import Counting
from tests.access_log.rows import HAPROXY_GRPC, HAPROXY_REST


def test_hostile_names_make_no_time_series_and_odd_lines_are_counted() -> None:
    registry = CollectorRegistry()
    counting = Counting(registry, {"classify_image": Goals(p99_ms=80)})
    before = {sample.name + str(sample.labels) for metric in registry.collect() for sample in metric.samples}
    rows = [HAPROXY_GRPC | {"model": f"model_{number}", "verb": "infer"} for number in range(100)]
    counting.take(b"\n".join(json.dumps(row).encode() for row in [*rows, HAPROXY_REST]))
    counting.take(b'[NOTICE] own words\n{"id": 1}\n{broken\n\xff\n')
    after = {sample.name + str(sample.labels) for metric in registry.collect() for sample in metric.samples}
    assert after == before
    value = registry.get_sample_value
    labels = {"protocol": "grpc", "pipeline": "other", "outcome": "ok"}
    assert value("ai102_gateway_requests_total", labels) == 100
    assert value("ai102_gateway_unreadable_rows_total") == 2
    name = "ai102_gateway_request_duration_seconds_bucket"
    within = {"pipeline": "classify_image", "protocol": "rest"}
    assert [value(name, within | {"le": bound}) for bound in ("0.005", "0.01", "0.08")] == [0, 1, 1]
