"""MR4xx: the dynamic and the sequence batcher."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from ai102.lint.finding import Code, Finding
from ai102.lint.model import Model, Repository
from ai102.lint.paths import exists
from ai102.lint.rules import sequences

CODES: tuple[Code, ...] = (
    Code(
        "MR401",
        "error",
        "preferred batch that cannot be",
        "Each preferred_batch_size lies between 1 and max_batch_size; Triton refuses others. Most models need none: "
        "without it the batcher aims at max_batch_size.",
    ),
    Code(
        "MR402",
        "error",
        "default priority out of range",
        "With priority_levels set, a request without a priority gets default_priority_level, which must be one of "
        "1 to priority_levels; 1 is the highest. Triton refuses 0, which is also what it is when left out.",
    ),
    Code(
        "MR403",
        "error",
        "queue policy for a priority that does not exist",
        "The keys of priority_queue_policy are priorities from 1 to priority_levels; Triton refuses others.",
    ),
    Code(
        "MR404",
        "error",
        "order kept across priorities",
        "preserve_ordering answers in the order of arrival, priorities answer in another one. Triton refuses both "
        "together.",
    ),
    Code(
        "MR405",
        "error",
        "order kept while requests are delayed",
        "timeout_action: DELAY moves a request that timed out behind the others, which preserve_ordering forbids. "
        "Triton refuses both together; write REJECT or give up the order.",
    ),
    Code(
        "MR406",
        "error",
        "batching strategy that cannot be used",
        "The parameter TRITON_BATCH_STRATEGY_PATH names a library for the dynamic batcher. Triton refuses it beside "
        "sequence_batching, and where no file has that path.",
    ),
    *sequences.CODES,
)


def check(model: Model, repository: Repository) -> Iterator[Finding]:
    config = model.config
    if config is None:
        return
    if config.HasField("dynamic_batching"):
        yield from preferred_sizes(model, "dynamic_batching", config.dynamic_batching, config.max_batch_size)
        yield from _priorities(model, config.dynamic_batching)
        yield from _order(model, config.dynamic_batching)
    if config.HasField("sequence_batching"):
        oldest = config.sequence_batching.oldest
        yield from preferred_sizes(model, "sequence_batching.oldest", oldest, config.max_batch_size)
        yield from sequences.check(model, repository)
    yield from _strategy(model, config, repository)


def preferred_sizes(model: Model, where: str, batcher: Any, most: int) -> Iterator[Finding]:
    for place, size in enumerate(batcher.preferred_batch_size):
        if not 0 < size <= most:
            message = f"the preferred batch size {size} is not between 1 and max_batch_size {most}"
            advice = "leave it out, or set max_batch_size to the largest batch" if most < 1 else "leave it out"
            yield model.finding("MR401", f"{where}.preferred_batch_size[{place}]", message, advice)


def _priorities(model: Model, batcher: pb.ModelDynamicBatching) -> Iterator[Finding]:
    levels, default = batcher.priority_levels, batcher.default_priority_level
    if not levels:
        return
    if not 1 <= default <= levels:
        message = f"default_priority_level is {default}, and the priorities are 1 to {levels}"
        where = "dynamic_batching.default_priority_level"
        yield model.finding("MR402", where, message, f"write default_priority_level: {(levels + 1) // 2} or so")
    for level in sorted(batcher.priority_queue_policy):
        if not 1 <= level <= levels:
            message = f"there is a queue policy for priority {level}, and the priorities are 1 to {levels}"
            where = f"dynamic_batching.priority_queue_policy[{_place(model, level)}]"
            yield model.finding("MR403", where, message, "leave it out, or raise priority_levels")


def _place(model: Model, level: int) -> int:
    """Of the entry with that key; the keys are numbers, which a path cannot name."""
    batching = model.tree.find("dynamic_batching")
    entries = batching.value.all("priority_queue_policy") if batching and hasattr(batching.value, "all") else ()
    for place, entry in enumerate(entries):
        key = entry.value.find("key") if hasattr(entry.value, "find") else None
        if key is not None and getattr(key.value, "value", None) == level:
            return place
    return 0


def _order(model: Model, batcher: pb.ModelDynamicBatching) -> Iterator[Finding]:
    if not batcher.preserve_ordering:
        return
    where = "dynamic_batching.preserve_ordering"
    if batcher.priority_levels > 1:
        message = f"preserve_ordering does not go with {batcher.priority_levels} priorities"
        yield model.finding("MR404", where, message, "leave out preserve_ordering or priority_levels")
    policies = [batcher.default_queue_policy, *batcher.priority_queue_policy.values()]
    if any(p.default_timeout_microseconds and p.timeout_action == pb.ModelQueuePolicy.DELAY for p in policies):
        message = "preserve_ordering does not go with timeout_action DELAY"
        yield model.finding("MR405", where, message, "leave out preserve_ordering, or write timeout_action: REJECT")


def _strategy(model: Model, config: pb.ModelConfig, repository: Repository) -> Iterator[Finding]:
    key = "TRITON_BATCH_STRATEGY_PATH"
    if key not in config.parameters or config.HasField("ensemble_scheduling"):
        return
    path = config.parameters[key].string_value
    if config.HasField("sequence_batching"):
        message = f"{key} does not go with sequence_batching"
        yield model.finding("MR406", f'parameters["{key}"]', message, "leave it out")
    elif repository.check_files and not exists(model.folder / path):
        message = f"{key} names {path}, which is missing"
        yield model.finding("MR406", f'parameters["{key}"]', message, "write the path of the library")
