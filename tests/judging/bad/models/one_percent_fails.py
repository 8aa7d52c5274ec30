"""Every hundredth call fails."""

from typing import Any

import triton_python_backend_utils as pb_utils

from ai102_runtime.models.one_process import TritonPythonModel as Served


class TritonPythonModel(Served):
    def execute(self, requests: Any) -> Any:
        responses = super().execute(requests)
        self.calls = getattr(self, "calls", 0)
        for position in range(len(responses)):
            self.calls += 1
            if self.calls % 100 == 0:
                responses[position] = pb_utils.InferenceResponse(error=pb_utils.TritonError("a lock was not released"))
        return responses
