"""The table of an ensemble."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from ai102.contract.serving import Goals
from ai102.contract.table import Name, Table
from ai102.contract.tables import TensorName


class Step(Table):
    """One model of an ensemble; maps are {the model's tensor: the ensemble's tensor}; by default names are equal."""

    model: Name = Field(examples=['"digits_int8"'])
    inputs: dict[TensorName, TensorName] = Field({}, examples=['{ pixels = "pixels" }'])
    outputs: dict[TensorName, TensorName] = Field({}, examples=['{ scores = "scores" }'])

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value


class Ensemble(Table):
    """Models that run in order and pass tensors by name."""

    steps: tuple[Step, ...] = Field(min_length=1, examples=['["digits_decode", "digits_int8"]'])
    inputs: tuple[TensorName, ...] = Field(min_length=1, examples=['["image"]'])
    outputs: tuple[TensorName, ...] = Field(min_length=1, examples=['["label", "score"]'])
    # On ONNX Runtime all steps run in one model, which avoids calls between models; no effect on TensorRT.
    in_one_process: bool = Field(False, examples=["true"])
    # Also serve sealed_NAME, which takes and returns encrypted payloads: no proxy, log or queue sees the plaintext.
    sealed: bool = Field(False, examples=["true"])
    response_cache: bool = Field(False, examples=["true"])  # needs server.response_cache_mb
    # Alerts, release checks and autoscaling read these; of a sealed form too.
    goals: Goals | None = Field(None, examples=["{ success_percent = 99.9, p99_ms = 100 }"])

    def answers_like(self, other: Ensemble) -> bool:
        """Whether both run the same steps on the same tensors, in one process or not."""
        return (self.steps, self.inputs, self.outputs) == (other.steps, other.inputs, other.outputs)
