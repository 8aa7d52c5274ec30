"""The tables of models.toml for serving a network: batching, queues, instances, versions."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from ai102.contract.table import Positive, Table


class LatencyGoal(Table):
    p99_ms: float = Field(gt=0, examples=["50.0"])


class Goals(Table):
    """What callers of a pipeline are promised, measured at the gateway."""

    # Of all calls that the caller did not spoil. Alerts multiply the share that may fail by up to 14.4.
    success_percent: float = Field(99.9, ge=95, lt=100, examples=["99.9"])
    p99_ms: float = Field(gt=0, examples=["100.0"])


class Queue(Table):
    """How many requests may wait for a batch, and for how long."""

    max_size: int = Field(0, ge=0, examples=["128"])  # further requests are refused; 0: no limit
    timeout_us: int = Field(0, ge=0, examples=["200000"])  # 0: no limit
    on_timeout: Literal["reject", "delay"] = Field("reject", examples=['"reject"'])
    callers_may_shorten: bool = Field(False, examples=["true"])  # with the request's timeout parameter

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if self.on_timeout == "delay" and not self.timeout_us:
            raise ValueError('on_timeout is "delay" but timeout_us is 0: nothing would ever be late; write timeout_us')
        return self


class Priorities(Table):
    """Priority levels of requests; 1 is the highest. A request without one has the level `default`."""

    levels: int = Field(ge=2, examples=["2"])
    default: Positive = Field(2, examples=["2"])
    queues: dict[Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*$")], Queue] = Field(
        {}, examples=['{ "1" = { max_size = 16 } }']
    )

    @model_validator(mode="after")
    def _levels_are_there(self) -> Self:
        if self.default > self.levels:
            raise ValueError(f"default is {self.default} but levels is {self.levels}: write at most that")
        if above := [level for level in self.queues if int(level) > self.levels]:
            raise ValueError(f'queues holds "{above[0]}" but levels is {self.levels}: drop it or raise levels')
        return self


class Batching(Table):
    """Triton's dynamic batching; max_batch_size 0 turns the batch dimension off."""

    max_batch_size: int = Field(ge=0, examples=["32"])
    max_queue_delay_us: int = Field(0, ge=0, examples=["500"])
    preferred_batch_sizes: tuple[Positive, ...] = Field((), examples=["[8, 16]"])
    preserve_ordering: bool = Field(False, examples=["true"])  # answers are sent in the order of their requests
    queue: Queue | None = Field(None, examples=["{ max_size = 128, timeout_us = 200000 }"])
    priorities: Priorities | None = Field(None, examples=["{ levels = 2, default = 2 }"])

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.max_batch_size == 0:
            # Without a batch dimension Triton has no dynamic batcher, and these are the batcher's options.
            useless = [
                key
                for key in ("max_queue_delay_us", "preserve_ordering", "queue", "priorities")
                if getattr(self, key) not in (0, False, None)
            ]
            if useless:
                raise ValueError(
                    f"max_batch_size is 0 but {useless[0]} is {_plain(getattr(self, useless[0]))}: "
                    "nothing would ever wait; set a batch size or drop it"
                )
        if too_big := [size for size in self.preferred_batch_sizes if size > self.max_batch_size]:
            raise ValueError(
                f"preferred_batch_sizes holds {too_big[0]} but max_batch_size is {self.max_batch_size}: "
                "no batch would ever reach it; raise the one or drop the other"
            )
        if self.priorities and self.preserve_ordering:
            raise ValueError(
                "preserve_ordering is true and priorities are set: a request cannot both overtake and keep its order; "
                "drop one of them"
            )
        if self.priorities and self.max_batch_size < 8:
            raise ValueError(
                f"priorities are set but max_batch_size is {self.max_batch_size}: Triton then stalls for up to a "
                "second; write a max_batch_size of 8 or more, or drop them"
            )
        return self


class Gpu(Table):
    """Instances on GPUs: of the network's plan, and of its ONNX file if that is served too."""

    count: Positive = Field(1, examples=["1"])  # on each of the devices
    devices: tuple[Annotated[int, Field(ge=0)], ...] = Field((), examples=["[0, 1]"])  # empty: every GPU


class Resource(Table):
    """A rate limiter resource that an instance occupies while it runs."""

    name: str = Field(min_length=1, examples=['"memory"'])
    count: Positive = Field(examples=["4"])
    is_global: bool = Field(False, examples=["true"])  # shared by all devices


class RateLimiter(Table):
    """What an instance waits for before it runs; without effect unless models.toml has [server.rate_limit]."""

    priority: Positive = Field(1, examples=["2"])  # an instance of priority 2 runs half as often as one of priority 1
    resources: tuple[Resource, ...] = Field((), examples=['[{ name = "memory", count = 4 }]'])


class Instances(Table):
    """The number of concurrent instances of the network, and of threads of each."""

    count: int = Field(1, ge=1, examples=["1"])
    threads: int = Field(1, ge=1, examples=["1"])
    gpu: Gpu | None = Field(None, examples=["{ count = 1, devices = [0] }"])
    rate_limiter: RateLimiter | None = Field(None, examples=["{ priority = 2 }"])


class Versions(Table):
    """How many builds of a network stay in model_repository, and how many of the newest are served together."""

    keep: Positive = Field(2, examples=["2"])  # those that are not served are kept for a rollback
    serve: Positive = Field(1, examples=["1"])

    @model_validator(mode="after")
    def _served_are_kept(self) -> Self:
        if self.serve > self.keep:
            raise ValueError(f"serve is {self.serve} but keep is {self.keep}: a deleted build cannot be served")
        return self


class Warmup(Table):
    """Requests with real data before a network becomes ready, one for each batch size and padded length."""

    batch_sizes: tuple[Positive, ...] = Field(min_length=1, examples=["[1, 8, 32]"])


def _plain(value: object) -> str:
    return "set" if isinstance(value, Table) else str(value).lower()
