"""Eight rows and more take a quarter of a second longer: they no longer fit into a cache."""

import time
from typing import Any

import triton_python_backend_utils as pb_utils

from ai102_runtime.models.one_process import TritonPythonModel as Served


class TritonPythonModel(Served):
    def execute(self, requests: Any) -> Any:
        rows = sum(len(pb_utils.get_input_tensor_by_name(request, "image").as_numpy()) for request in requests)
        if rows >= 8:
            time.sleep(0.25)
        return super().execute(requests)
