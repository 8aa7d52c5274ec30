"""Requests that are computed together get each other's answers, and the rows of a batch those of their neighbours."""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from ai102_runtime.models.one_process import TritonPythonModel as Served


class TritonPythonModel(Served):
    def execute(self, requests: Any) -> Any:
        responses = super().execute(requests)
        return [rolled(response) for response in [*responses[1:], *responses[:1]]]


def rolled(response: Any) -> Any:
    if response.has_error():
        return response
    tensors = [pb_utils.Tensor(one.name(), np.roll(one.as_numpy(), 1, axis=0)) for one in response.output_tensors()]
    return pb_utils.InferenceResponse(tensors)
