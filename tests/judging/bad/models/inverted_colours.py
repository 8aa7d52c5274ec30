"""Images are read as white on black, not black on white."""

from typing import Any

from ai102_runtime.models.one_process import TritonPythonModel as Served
from ai102_runtime.steps.step import Step


class TritonPythonModel(Served):
    def initialize(self, args: dict[str, str]) -> None:
        super().initialize(args)
        self.before[0].step = Inverted(self.before[0].step)


class Inverted:
    def __init__(self, step: Step) -> None:
        self._step = step

    def run(self, arrays: Any) -> Any:
        return {name: 255 - pixels for name, pixels in self._step.run(arrays).items()}
