"""How a network becomes INT8: the table [networks.NAME.quantization] of models.toml."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Method = Literal["minmax", "percentile", "entropy"]
# A layer's name (its path in the PyTorch module where that is known), with * and ? as in file names.
LayerPattern = Annotated[str, StringConstraints(min_length=1)]


class Recipe(BaseModel):
    """The default quantizes every layer that has weights, by the smallest and largest value seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = Field("minmax", examples=['"minmax"'])
    percentile: float | None = Field(None, gt=50, lt=100, examples=["99.999"])
    smoothing: float | None = Field(None, ge=0, le=1, examples=["0.8"])
    keep_float: tuple[LayerPattern, ...] = Field((), examples=['["*.output.dense"]'])

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if (self.method == "percentile") != (self.percentile is not None):
            advice = 'write method = "percentile" or drop it' if self.percentile else "write percentile = 99.999"
            raise ValueError(f'method is "{self.method}" and percentile is {self.percentile or "not set"}: {advice}')
        if self.smoothing is not None and self.method != "minmax":
            raise ValueError(
                f'smoothing is {self.smoothing} but method is "{self.method}": smoothed ranges follow from each '
                'channel\'s smallest and largest value; write method = "minmax" or drop smoothing'
            )
        return self
