"""The tuned values of a network: one set of them, and the alternatives to try."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import ValidationError

from ai102.contract import Network

# The default limit of max_batch_size; the present value is the limit if it is larger.
LARGEST_BATCH = 32
DELAYS_US = (0, 100, 500, 1000, 2000, 5000, 10000)
# The longest queue delay, as a share of the goal: a longer one leaves too little time for the rest.
LONGEST_DELAY = 0.25
AXES = ("instances", "threads", "max_batch_size", "max_queue_delay_us", "preferred_batch_sizes")


@dataclass(frozen=True)
class Candidate:
    """One set of values for models.toml."""

    max_batch_size: int
    max_queue_delay_us: int
    preferred_batch_sizes: tuple[int, ...]
    instances: int
    threads: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Choices:
    """The values to try along each axis."""

    max_batch_size: tuple[int, ...]
    max_queue_delay_us: tuple[int, ...]
    instances: tuple[int, ...]
    threads: tuple[int, ...]
    most_busy_threads: int  # limit of instances times threads, unless the user gave both


def candidate_of(network: Network) -> Candidate:
    """The contract's present values."""
    batching, instances = network.batching, network.instances
    return Candidate(
        batching.max_batch_size,
        batching.max_queue_delay_us,
        batching.preferred_batch_sizes,
        instances.count,
        instances.threads,
    )


def network_with(network: Network, candidate: Candidate) -> Network:
    """The network with those values and warm-ups limited to its batch size. Raises pydantic's ValidationError."""
    table = network.model_dump()
    table["batching"] |= {
        "max_batch_size": candidate.max_batch_size,
        "max_queue_delay_us": candidate.max_queue_delay_us,
        "preferred_batch_sizes": candidate.preferred_batch_sizes,
    }
    table["instances"] |= {"count": candidate.instances, "threads": candidate.threads}
    if network.warmup:
        table["warmup"]["batch_sizes"] = warm_sizes(network, candidate)
    return Network.model_validate(table)


def warm_sizes(network: Network, candidate: Candidate) -> tuple[int, ...]:
    largest = max(1, candidate.max_batch_size)
    sizes = network.warmup.batch_sizes if network.warmup else ()
    return tuple(dict.fromkeys(min(size, largest) for size in sizes))


def is_allowed(network: Network, candidate: Candidate) -> bool:
    """Whether the contract is valid with it: priorities and TensorRT's profile need a smallest batch."""
    try:
        network_with(network, candidate)
    except ValidationError:
        return False
    return True


def choices_for(
    network: Network,
    goal_ms: float,
    server_cores: int,
    *,
    largest_batch: int | None = None,
    instances: Sequence[int] = (),
    threads: Sequence[int] = (),
) -> Choices:
    """Powers of two up to the useful limit for the machine and the goal; the user's values replace them."""
    present = candidate_of(network)
    limit = largest_batch or max(LARGEST_BATCH, present.max_batch_size)
    has_batches = present.max_batch_size > 0
    batches = {size for size in (*_powers(limit), limit, present.max_batch_size) if size <= limit}
    delays = {delay for delay in DELAYS_US if delay <= goal_ms * 1000 * LONGEST_DELAY}
    return Choices(
        tuple(sorted(batches)) if has_batches else (0,),
        tuple(sorted(delays)) if has_batches else (0,),
        tuple(instances) or _powers(2 * server_cores),
        tuple(threads) or _powers(server_cores),
        max(a * b for a in instances for b in threads) if instances and threads else 2 * server_cores,
    )


def along(axis: str, best: Candidate, choices: Choices) -> list[Candidate]:
    """`best` with each other value of that axis, the nearest first; without values too large for the machine."""
    if axis == "preferred_batch_sizes":
        # Without a delay no request waits for a preferred size.
        halves = {best.max_batch_size // 2, best.max_batch_size // 4} - {0, 1}
        values: list[Any] = [(), *((size,) for size in sorted(halves, reverse=True))]
        return [
            replace(best, preferred_batch_sizes=value)
            for value in (values if best.max_queue_delay_us else [()])
            if value != best.preferred_batch_sizes
        ]
    now = getattr(best, axis)
    values = sorted((value for value in getattr(choices, axis) if value != now), key=lambda value: abs(value - now))
    candidates = [_consistent(replace(best, **{axis: value})) for value in values]
    if axis in ("instances", "threads"):
        candidates = [other for other in candidates if other.instances * other.threads <= choices.most_busy_threads]
    return candidates


def _consistent(candidate: Candidate) -> Candidate:
    """The candidate without preferred sizes that cannot occur."""
    sizes = candidate.preferred_batch_sizes
    kept = tuple(size for size in sizes if size <= candidate.max_batch_size) if candidate.max_queue_delay_us else ()
    return replace(candidate, preferred_batch_sizes=kept)


def _powers(limit: int) -> tuple[int, ...]:
    return tuple(1 << power for power in range(max(1, limit).bit_length()))
