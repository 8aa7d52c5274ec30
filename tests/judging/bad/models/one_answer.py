"""Every image is a zero."""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from ai102_runtime.models.one_process import TritonPythonModel as Served


class TritonPythonModel(Served):
    def execute(self, requests: Any) -> Any:
        return [constant(response) for response in super().execute(requests)]


def constant(response: Any) -> Any:
    """The answer, with the first label."""
    if response.has_error():
        return response
    tensors = {one.name(): one.as_numpy() for one in response.output_tensors()}
    if "label" in tensors:
        tensors["label"] = np.full_like(tensors["label"], b"zero")
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in tensors.items()])
