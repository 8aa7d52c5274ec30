"""The table [scaling] of models.toml: how many replicas a cluster runs, and when it starts another one."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from ai102.contract.table import Positive, Table


class Scaling(Table):
    """The size of a cluster. The manifests in k8s/ derive from it."""

    min_replicas: Positive = Field(3, examples=["3"])
    max_replicas: Positive = Field(12, examples=["12"])
    # Of what a replica carries within its goal (loadtest/capacity.json): beyond that another one is started.
    used_percent: float = Field(60, gt=0, le=100, examples=["60"])

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas is {self.min_replicas} but max_replicas is {self.max_replicas}: "
                "write at least as many there"
            )
        return self
