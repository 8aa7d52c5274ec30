"""Scores of sevens are NaN."""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from ai102_runtime.models.one_process import TritonPythonModel as Served


class TritonPythonModel(Served):
    def execute(self, requests: Any) -> Any:
        return [changed(response) for response in super().execute(requests)]


def changed(response: Any) -> Any:
    if response.has_error():
        return response
    tensors = {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}
    if "scores" in tensors:
        scores = tensors["scores"].copy()
        scores[scores.argmax(axis=1) == 7] = np.nan
        tensors["scores"] = scores
    else:
        score = tensors["score"].copy()
        score[tensors["label"] == b"seven"] = np.nan
        tensors["score"] = score
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in tensors.items()])
