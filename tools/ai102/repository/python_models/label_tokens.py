"""Triton model: each token's scores and place in the text in; its best label, that label's score and the place out."""

import json
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from ai102.transforms.scores import token_labels


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        self.scores = config["input"][0]["name"]
        self.labels = Path(args["model_repository"], "labels.txt").read_bytes().splitlines()

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        scores = pb_utils.get_input_tensor_by_name(request, self.scores).as_numpy()
        spans = pb_utils.get_input_tensor_by_name(request, "spans").as_numpy()
        label, score = token_labels(scores, spans, self.labels)
        answers = {"label": label, "score": score, "span": spans}
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, value) for name, value in answers.items()])
