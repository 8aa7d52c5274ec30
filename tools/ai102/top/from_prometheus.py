"""A reading out of Prometheus, by queries over a short window of what it scrapes."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ai102.prometheus.api import firing_alerts, instant
from ai102.top.figures import Figures, models_from_figures, pipelines_from_figures, replicas_from_figures
from ai102.top.reading import Goal, Reading

# The recorded five minutes would show a fault late, and long after it is over.
WINDOW_S = 60
_BUCKETS = "sum by (pipeline, le) (rate(ai102_gateway_request_duration_seconds_bucket[1m]))"
PIPELINES = {
    "rate": "sum by (pipeline) (rate(ai102_gateway_requests_total[1m]))",
    "ok": 'sum by (pipeline) (rate(ai102_gateway_requests_total{outcome="ok"}[1m]))',
    "failed": 'sum by (pipeline) (rate(ai102_gateway_requests_total{outcome="failed"}[1m]))',
    "refused": 'sum by (pipeline) (rate(ai102_gateway_requests_total{outcome=~"refused|limited|client_error"}[1m]))',
    "p50_s": f"histogram_quantile(0.5, {_BUCKETS})",
    "p99_s": f"histogram_quantile(0.99, {_BUCKETS})",
    "in_flight": "sum by (pipeline) (ai102_gateway_in_flight)",
    "capacity_used": "max by (pipeline) (pipeline:capacity_used:ratio)",
}
MODELS = {
    "rate": "sum by (model) (rate(nv_inference_count[1m]))",
    "executions": "sum by (model) (rate(nv_inference_exec_count[1m]))",
    # Between the last two scrapes.
    "progress": "sum by (model) (irate(nv_inference_exec_count[1m]))",
    "requests": "sum by (model) (rate(nv_inference_request_success[1m]))",
    "busy_us": "sum by (model) (rate(nv_inference_request_duration_us[1m]))",
    "queue_us": "sum by (model) (rate(nv_inference_queue_duration_us[1m]))",
    "p99_us": 'max by (model) (nv_inference_request_summary_us{quantile="0.99"})',
    "waiting": "sum by (model) (nv_inference_pending_request_count)",
    "failures": 'sum by (model) (rate(nv_inference_request_failure{reason!="CANCELED"}[1m]))',
}
REPLICAS = {
    "is_up": "min by (replica) (ai102_gateway_replica_up)",
    "is_drained": "max by (replica) (ai102_gateway_replica_drained)",
    "in_flight": "sum by (replica) (ai102_gateway_replica_in_flight)",
    "rate": "sum by (replica) (rate(nv_inference_count[1m]))",
    "answers": 'max by (replica) (up{job="triton"})',
}
CAPACITY = "max(gateway:capacity_used:ratio)"
# The replicas have rows of their own.
NOT_SCRAPED = 'up{job!="triton"} == 0'


def reading_from_prometheus(url: str, goals: Mapping[str, Goal]) -> Reading:
    """What the Prometheus at `url` knows now. Raises NoAnswerError."""
    silent = [sample.labels for sample in instant(url, NOT_SCRAPED)]
    return Reading(
        url,
        time.time(),
        WINDOW_S,
        pipelines_from_figures(_figures(url, PIPELINES, "pipeline"), goals),
        models_from_figures(_figures(url, MODELS, "model")),
        replicas_from_figures(_figures(url, REPLICAS, "replica")),
        next((sample.value for sample in instant(url, CAPACITY)), None),
        tuple(_named(alert) for alert in firing_alerts(url)),
        tuple(f"{labels.get('job')} at {labels.get('instance')} does not answer Prometheus" for labels in silent),
    )


def _figures(url: str, queries: Mapping[str, str], label: str) -> Figures:
    figures: dict[str, dict[str, float]] = {}
    for figure, query in queries.items():
        for sample in instant(url, query):
            figures.setdefault(sample.labels.get(label, ""), {})[figure] = sample.value
    return figures


def _named(alert: Mapping[str, str]) -> str:
    """Its name, and what it is about."""
    about = [alert[label] for label in ("pipeline", "model", "replica", "certificate", "instance") if label in alert]
    severity = f" ({alert['severity']})" if "severity" in alert else ""
    return " ".join([alert.get("alertname", "?"), *about[:2]]) + severity
