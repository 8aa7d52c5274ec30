"""When another replica is started: the two queries, for KEDA and for an HPA with prometheus-adapter.

Both count in replicas as they were measured: 2.4 is the work of two replicas and two fifths.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ai102.kubernetes.patches import HEAD
from ai102.kubernetes.sizes import Sizes

SCALING_FROM = "models.toml and loadtest/footprint.json; capacities are in monitoring/rules/contract.yaml"

# What arrives: the calls that ended between the last two scrapes, and by how much those under way became more.
# A mean over a minute would show a step a minute late; the window of scaling down is minutes in any case.
ARRIVALS = (
    'sum(clamp_min(sum by (pipeline) (irate(ai102_gateway_requests_total{outcome!="refused"}[1m]))'
    " + sum by (pipeline) (deriv(ai102_gateway_in_flight[30s])), 0)"
    " / on (pipeline) contract:capacity:rate)"
)
# What is under way, of that of a measured replica at its full load: it grows without bound where a replica is overrun.
IN_FLIGHT = "sum(sum by (pipeline) (ai102_gateway_in_flight) / on (pipeline) contract:capacity:in_flight)"
# Names of external metrics, and a series that is always there, by which the adapter learns of each.
METRICS = {
    "ai102_arrivals_in_replicas": ("contract:capacity:rate", ARRIVALS),
    "ai102_in_flight_in_replicas": ("contract:capacity:in_flight", IN_FLIGHT),
}

SCALED_OBJECT = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: triton
  namespace: ai102
spec:
  minReplicaCount: {min_replicas}
  maxReplicaCount: {max_replicas}
  # Prometheus is silent: as many as there are, and never fewer than the fewest.
  fallback: {{failureThreshold: 3, replicas: {min_replicas}, behavior: currentReplicasIfHigher}}
  triggers:
    - type: prometheus
      name: arrivals
      metricType: AverageValue
      metadata:
        serverAddress: http://prometheus.monitoring.svc:9090
        query: {arrivals_query}
        threshold: "{busy:g}"
        ignoreNullValues: "false"
    - type: prometheus
      name: in-flight
      metricType: AverageValue
      metadata:
        serverAddress: http://prometheus.monitoring.svc:9090
        query: {in_flight_query}
        threshold: "{in_flight:g}"
        ignoreNullValues: "false"
"""

AUTOSCALER = """\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: triton
  namespace: ai102
spec:
  minReplicas: {min_replicas}
  maxReplicas: {max_replicas}
  metrics:
    - type: External
      external:
        metric: {{name: ai102_arrivals_in_replicas}}
        target: {{type: AverageValue, averageValue: "{busy:g}"}}
    - type: External
      external:
        metric: {{name: ai102_in_flight_in_replicas}}
        target: {{type: AverageValue, averageValue: "{in_flight:g}"}}
"""

ADAPTER_CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: adapter-config
  namespace: {namespace}
data:
  config.yaml: |
    externalRules:
"""
ADAPTER_RULE = """\
      - seriesQuery: '{series}'
        resources: {{namespaced: false}}
        name: {{matches: "^.*$", as: {name}}}
        metricsQuery: {query}
"""


@dataclass(frozen=True)
class Thresholds:
    """How many replicas there are at least and at most, and what one does before another is started."""

    min_replicas: int
    max_replicas: int
    busy: float  # of a measured replica's work
    in_flight: float  # of the calls in flight at a measured replica's full load


def thresholds_of(sizes: Sizes) -> Thresholds:
    """Those of an environment."""
    scaling = sizes.scaling
    return Thresholds(scaling.min_replicas, scaling.max_replicas, sizes.busy_threshold, sizes.in_flight_threshold)


def scaled_object_patch(thresholds: Thresholds) -> str:
    """Limits, thresholds and queries of the ScaledObject triton."""
    return HEAD.format(sources=SCALING_FROM) + SCALED_OBJECT.format(
        **asdict(thresholds), arrivals_query=ARRIVALS, in_flight_query=IN_FLIGHT
    )


def autoscaler_patch(thresholds: Thresholds) -> str:
    """Limits and thresholds of the HorizontalPodAutoscaler triton."""
    return HEAD.format(sources=SCALING_FROM) + AUTOSCALER.format(**asdict(thresholds))


def adapter_config(namespace: str) -> str:
    """The rules of prometheus-adapter, as the ConfigMap that its own manifests name, in the namespace where it runs."""
    rules = (ADAPTER_RULE.format(series=series, name=name, query=query) for name, (series, query) in METRICS.items())
    return (
        HEAD.format(sources="tools/ai102/kubernetes/scaling.py")
        + ADAPTER_CONFIG.format(namespace=namespace)
        + "".join(rules)
    )
