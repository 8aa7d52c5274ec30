"""What cannot be decoded is answered all the same, as a zero."""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from ai102_runtime.models.one_process import TritonPythonModel as Served


class TritonPythonModel(Served):
    def execute(self, requests: Any) -> Any:
        responses = super().execute(requests)
        return [zero(request) if one.has_error() else one for request, one in zip(requests, responses, strict=True)]


def zero(request: Any) -> Any:
    rows = len(pb_utils.get_input_tensor_by_name(request, "image").as_numpy())
    label = pb_utils.Tensor("label", np.full((rows, 1), b"zero", object))
    return pb_utils.InferenceResponse([label, pb_utils.Tensor("score", np.full((rows, 1), 0.5, np.float32))])
