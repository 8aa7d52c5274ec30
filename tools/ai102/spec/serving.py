"""How Triton serves a network: batching, queues, instances, versions; one table of models.toml each."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from ai102.spec.table import Positive, Table


class LatencyGoal(Table):
    p99_ms: float = Field(gt=0, examples=["50.0"])


class Batching(Table):
    """Triton's dynamic batching; max_batch_size 0 turns the batch dimension off."""

    max_batch_size: int = Field(ge=0, examples=["32"])
    max_queue_delay_us: int = Field(0, ge=0, examples=["500"])
    preferred_batch_sizes: tuple[Positive, ...] = Field((), examples=["[8, 16]"])

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.max_batch_size == 0 and self.max_queue_delay_us:
            raise ValueError(
                f"max_batch_size is 0 but max_queue_delay_us is {self.max_queue_delay_us}: "
                "nothing would ever wait; set a batch size or drop the delay"
            )
        if too_big := [size for size in self.preferred_batch_sizes if size > self.max_batch_size]:
            raise ValueError(
                f"preferred_batch_sizes holds {too_big[0]} but max_batch_size is {self.max_batch_size}: "
                "no batch would ever reach it; raise the one or drop the other"
            )
        return self


class Instances(Table):
    """How many copies of the network run at once, and on how many threads each."""

    count: int = Field(1, ge=1, examples=["1"])
    threads: int = Field(1, ge=1, examples=["1"])


class Versions(Table):
    """How many builds of a network stay in model_repository: the newest is served, the others wait for a rollback."""

    keep: Positive = Field(2, examples=["2"])
