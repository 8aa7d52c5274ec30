"""Triton model: one step, each request by itself."""

import json
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from ai102_runtime.steps.step import Step


class OneStep:
    """The base of a generated model, which sets `step_class`."""

    step_class: type[Step]

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        model = Path(args["model_repository"])
        self.inputs, outputs = ([tensor["name"] for tensor in config[key]] for key in ("input", "output"))
        version = model / args["model_version"]
        self.step = self.step_class(parameters, self.inputs, outputs, version, model / "labels.txt")

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        arrays = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}
        try:
            outputs = self.step.run(arrays)
        except ValueError as err:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(err), pb_utils.TritonError.INVALID_ARG))
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in outputs.items()])
