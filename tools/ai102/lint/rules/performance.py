"""MR9xx: configs that load but will cause trouble."""

from __future__ import annotations

from collections.abc import Iterator

from tritonclient.grpc import model_config_pb2 as pb

from ai102.lint.finding import Code, Finding
from ai102.lint.model import Model, Repository

CODES: tuple[Code, ...] = (
    Code(
        "MR901",
        "warning",
        "priorities without batches",
        "With priority_levels and max_batch_size 1 or 0 a tritonserver 2.51 stalls for 0.5 to 1.5 seconds at a time "
        "under load, measured. Use batches of 8 or more, or no priorities.",
    ),
    Code(
        "MR902",
        "warning",
        "dynamic batching that batches nothing",
        "With max_batch_size 0 or 1 every request runs alone, and a queue delay delays nothing: dynamic_batching is "
        "then of use only for its queue policies. Export the network with a free batch dimension and set "
        "max_batch_size, or take dynamic_batching out.",
    ),
    Code(
        "MR903",
        "warning",
        "preferred sizes that nothing waits for",
        "The batcher waits for a preferred_batch_size to fill only as long as max_queue_delay_microseconds, and that "
        "is 0 here: what is queued runs at once, at whatever size. Set a delay (500 is a start), or take the "
        "preferred sizes out.",
    ),
    Code(
        "MR904",
        "warning",
        "text that cannot batch",
        "Triton batches requests only when their shapes agree. Token ids of every length almost never do, so that "
        "each request runs alone whatever the delay. Pad to a few fixed lengths and warm up each of them, as "
        "model_warmup then says, or set allow_ragged_batch where the backend knows it.",
    ),
    Code(
        "MR905",
        "warning",
        "queue time-out shorter than the queue delay",
        "A lone request waits max_queue_delay_microseconds for others. Where its time-out in the queue is shorter "
        "and timeout_action is REJECT, it is refused for a wait that the batcher itself imposed. Make the time-out "
        "several times the delay.",
    ),
)

TOKEN_TYPES = (pb.TYPE_INT32, pb.TYPE_INT64)


def check(model: Model, repository: Repository) -> Iterator[Finding]:
    config = model.config
    if config is None or not config.HasField("dynamic_batching"):
        return
    batcher = config.dynamic_batching
    if config.max_batch_size <= 1:
        if batcher.priority_levels:
            message = f"there are {batcher.priority_levels} priorities and max_batch_size is {config.max_batch_size}"
            where = "dynamic_batching.priority_levels"
            yield model.finding("MR901", where, message, "set max_batch_size: 8 or more, or take the priorities out")
        yield from _nothing_to_batch(model, batcher, config.max_batch_size)
        return
    if batcher.preferred_batch_size and not batcher.max_queue_delay_microseconds:
        message = "there are preferred batch sizes and no queue delay: nothing waits for them to fill"
        advice = "set max_queue_delay_microseconds: 500 or so, or take preferred_batch_size out"
        yield model.finding("MR903", "dynamic_batching.preferred_batch_size", message, advice)
    yield from _ragged_text(model, config)
    yield from _timeouts(model, batcher)


def _nothing_to_batch(model: Model, batcher: pb.ModelDynamicBatching, most: int) -> Iterator[Finding]:
    is_for_its_queue = bool(
        batcher.priority_levels or batcher.HasField("default_queue_policy") or batcher.preserve_ordering
    )
    if batcher.max_queue_delay_microseconds or not is_for_its_queue:
        has_delay = bool(batcher.max_queue_delay_microseconds)
        where = "dynamic_batching" + (".max_queue_delay_microseconds" if has_delay else "")
        message = f"max_batch_size is {most}: nothing is ever batched" + (" and no delay waited" if has_delay else "")
        advice = f"set max_batch_size, or take {'the delay' if has_delay else 'dynamic_batching'} out"
        yield model.finding("MR902", where, message, advice)


def _ragged_text(model: Model, config: pb.ModelConfig) -> Iterator[Finding]:
    warmed = {name for sample in config.model_warmup if sample.batch_size for name in sample.inputs}
    for place, tensor in enumerate(config.input):
        is_ids = tensor.data_type in TOKEN_TYPES and list(tensor.dims) == [-1]
        if is_ids and not tensor.allow_ragged_batch and tensor.name not in warmed:
            message = f"{tensor.name!r} has any length, and only requests of equal length batch"
            advice = "pad to a few lengths and warm up each in model_warmup, or set allow_ragged_batch"
            yield model.finding("MR904", f"input[{place}].dims[0]", message, advice)
            return


def _timeouts(model: Model, batcher: pb.ModelDynamicBatching) -> Iterator[Finding]:
    policy, delay = batcher.default_queue_policy, batcher.max_queue_delay_microseconds
    timeout = policy.default_timeout_microseconds
    if 0 < timeout <= delay and policy.timeout_action == pb.ModelQueuePolicy.REJECT:
        message = f"requests wait up to {delay} us for a batch and are refused after {timeout} us in the queue"
        where = "dynamic_batching.default_queue_policy.default_timeout_microseconds"
        yield model.finding("MR905", where, message, f"write {10 * delay} or more, or a shorter delay")
