"""Triton model: scores in; the best label and its score out."""

import json
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from ai102.transforms.scores import top_labels


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        self.scores = config["input"][0]["name"]
        self.labels = Path(args["model_repository"], "labels.txt").read_bytes().splitlines()

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        scores = pb_utils.get_input_tensor_by_name(request, self.scores).as_numpy()
        label, score = top_labels(scores, self.labels)
        return pb_utils.InferenceResponse([pb_utils.Tensor("label", label), pb_utils.Tensor("score", score)])
