"""The facts that the rules read, out of Triton's statistics, configs and metrics; no network here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from tritonclient.grpc import model_config_pb2 as pb

from ai102_runtime.engine.engine import ENGINE_METRIC

# The parser ends a counter's name with _total where the text says that it is a counter, as Triton's does.
FAILURES = ("nv_inference_request_failure", "nv_inference_request_failure_total")

Row = Mapping[str, Any]  # of Triton's statistics extension, for one version of a model


@dataclass(frozen=True)
class Config:
    """The part of a model's config that the rules read."""

    max_batch_size: int = 0
    has_dynamic_batching: bool = False
    queue_delay_us: int = 0
    preferred_batch_sizes: tuple[int, ...] = ()
    instances: int = 1
    has_warmup: bool = False
    has_varying_dims: bool = False
    has_cache: bool = False
    steps: tuple[str, ...] = ()  # of an ensemble
    joined: tuple[str, ...] = ()  # the models whose work a pipeline in one process does

    @property
    def is_ensemble(self) -> bool:
        return bool(self.steps)


@dataclass(frozen=True)
class Counts:
    """The work of a model: requests, the time they took in all, and their batches.

    Times are those of requests: one run of 8 requests in a batch counts 8 times.
    """

    requests: int = 0
    failed: int = 0
    inferences: int = 0
    executions: int = 0
    total_ns: int = 0
    queue_ns: int = 0
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    batches: tuple[tuple[int, int], ...] = ()  # (size, executions), rising
    busy_ns: int = 0  # of the instances: each execution once

    @property
    def mean_batch(self) -> float:
        return self.inferences / self.executions if self.executions else 0.0

    def per_request_ms(self, nanoseconds: int) -> float:
        return nanoseconds / self.requests / 1e6 if self.requests else 0.0

    def share(self, nanoseconds: int) -> float:
        return nanoseconds / self.total_ns if self.total_ns else 0.0


@dataclass(frozen=True)
class Facts:
    """One model of a running server, over `seconds` of watching, or since it was loaded where that is None."""

    model: str
    config: Config = Config()
    counts: Counts = Counts()
    before: Counts = Counts()  # its counts when watching began
    seconds: float | None = None
    state: str = "READY"
    state_reason: str = ""
    failures: Mapping[str, int] | None = None  # by Triton's reason; None: no metrics
    engine: str = ""  # that computes it; empty: no metrics, or a model that names none
    steps: tuple[Facts, ...] = ()  # of an ensemble, over the same time
    joined: tuple[Facts, ...] = ()  # of a pipeline in one process: its steps as models of their own, over the same time
    around: float = 0.0  # requests under way in the ensembles that have this model as a step

    @property
    def rate(self) -> float | None:
        """Requests per second."""
        return self.counts.requests / self.seconds if self.seconds else None

    @property
    def in_flight(self) -> float | None:
        """How many requests were under way at a time, on average: Little's law.

        Those that an ensemble has in another of its steps count too, because they reach this step later.
        """
        return max(self.around, self.counts.total_ns / 1e9 / self.seconds) if self.seconds else None

    @property
    def busy_instances(self) -> float | None:
        return self.counts.busy_ns / 1e9 / self.seconds if self.seconds else None


def config_from_pb(config: pb.ModelConfig) -> Config:
    batching = config.dynamic_batching
    return Config(
        max_batch_size=config.max_batch_size,
        has_dynamic_batching=config.HasField("dynamic_batching"),
        queue_delay_us=batching.max_queue_delay_microseconds,
        preferred_batch_sizes=tuple(batching.preferred_batch_size),
        instances=sum(group.count * max(1, len(group.gpus)) for group in config.instance_group) or 1,
        has_warmup=bool(config.model_warmup),
        has_varying_dims=any(-1 in tensor.dims for tensor in config.input),
        has_cache=config.response_cache.enable,
        steps=tuple(step.model_name for step in config.ensemble_scheduling.step),
        joined=_joined(config),
    )


def _joined(config: pb.ModelConfig) -> tuple[str, ...]:
    """What `ai102 configure` writes for a pipeline in one process; a parameter of that name in other models is left."""
    if "steps" not in config.parameters:  # reading a key of this map would add it
        return ()
    try:
        return tuple(str(step["model"]) for step in json.loads(config.parameters["steps"].string_value))
    except (ValueError, TypeError, KeyError):
        return ()


def counts_of(rows: Sequence[Row]) -> Counts:
    """The versions of one model together."""
    counts = Counts()
    for row in rows:
        counts = _sum(counts, _counts(row), 1)
    return counts


def between(before: Counts, after: Counts) -> Counts:
    """The difference of the two; all of `after` where the model was loaded anew meanwhile."""
    is_new = after.requests < before.requests or after.executions < before.executions
    return after if is_new else _sum(after, before, -1)


@dataclass(frozen=True)
class Metrics:
    """What the server's metrics say of each model and its statistics do not."""

    failures: Mapping[str, Mapping[str, int]]  # {model: {reason: count}}
    engines: Mapping[str, str]


def metrics_from_text(text: str) -> Metrics:
    """Raises ValueError where the text is no metrics."""
    failures: dict[str, dict[str, int]] = {}
    engines: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            model = sample.labels.get("model", "")
            if sample.name == ENGINE_METRIC:
                engines.setdefault(model, set()).add(sample.labels.get("engine", ""))
            if sample.name in FAILURES:
                reasons = failures.setdefault(model, {})
                reason = sample.labels.get("reason", "OTHER")
                reasons[reason] = reasons.get(reason, 0) + int(sample.value)
    return Metrics(failures, {model: " and ".join(sorted(names)) for model, names in engines.items()})


def _counts(row: Row) -> Counts:
    stats = row.get("inference_stats", {})

    def of(key: str, what: str) -> int:
        return int(stats.get(key, {}).get(what, 0))

    batches, busy = [], 0
    for entry in row.get("batch_stats", ()):
        times = [entry.get(key, {}) for key in ("compute_input", "compute_infer", "compute_output")]
        batches.append((int(entry["batch_size"]), int(times[1].get("count", 0))))
        busy += sum(int(time.get("ns", 0)) for time in times)
    return Counts(
        requests=of("success", "count"),
        failed=of("fail", "count"),
        inferences=int(row.get("inference_count", 0)),
        executions=int(row.get("execution_count", 0)),
        total_ns=of("success", "ns"),
        queue_ns=of("queue", "ns"),
        input_ns=of("compute_input", "ns"),
        infer_ns=of("compute_infer", "ns"),
        output_ns=of("compute_output", "ns"),
        cache_hits=of("cache_hit", "count"),
        cache_misses=of("cache_miss", "count"),
        batches=tuple(sorted(batches)),
        busy_ns=busy,
    )


def _sum(one: Counts, other: Counts, sign: int) -> Counts:
    numbers = {
        key: getattr(one, key) + sign * getattr(other, key) for key in Counts.__dataclass_fields__ if key != "batches"
    }
    sizes = dict(one.batches)
    for size, executions in other.batches:
        sizes[size] = sizes.get(size, 0) + sign * executions
    batches = tuple((size, executions) for size, executions in sorted(sizes.items()) if executions > 0)
    return Counts(**numbers, batches=batches)
