"""The process ends at an image of more than a thousand pixels a side."""

import os
from io import BytesIO
from typing import Any

import triton_python_backend_utils as pb_utils
from PIL import Image

from ai102_runtime.models.one_process import TritonPythonModel as Served


class TritonPythonModel(Served):
    def execute(self, requests: Any) -> Any:
        for request in requests:
            for item in pb_utils.get_input_tensor_by_name(request, "image").as_numpy().reshape(-1):
                if longest_side(item) > 1000:
                    os._exit(1)
        return super().execute(requests)


def longest_side(item: bytes) -> int:
    try:
        return max(Image.open(BytesIO(item)).size)
    except OSError:
        return 0
