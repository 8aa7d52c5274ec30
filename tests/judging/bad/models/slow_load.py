"""It loads for three quarters of a minute longer."""

import time

from ai102_runtime.models.one_process import TritonPythonModel as Served


class TritonPythonModel(Served):
    def initialize(self, args: dict[str, str]) -> None:
        time.sleep(45)
        super().initialize(args)
