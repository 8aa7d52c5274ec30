"""The process ends at its 500th call."""

import os
from typing import Any

from ai102_runtime.models.one_process import TritonPythonModel as Served


class TritonPythonModel(Served):
    def execute(self, requests: Any) -> Any:
        self.calls = getattr(self, "calls", 0) + len(requests)
        if self.calls >= 500:
            os._exit(1)
        return super().execute(requests)
