"""Triton model: all steps of an ensemble in this process, its network on ONNX Runtime.

On a CPU each hop between the models of an ensemble costs more than a small step does; here a tensor is handed on by
reference. The steps before the network take each request by itself, the others all of them at once.
"""

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from batch import Array, Call, answers  # type: ignore[import-not-found]  # lies beside the generated copy
from session_setup import (  # type: ignore[import-not-found]
    ORT_ERRORS,
    opened_session,
    options_from_config,
    plain_reason,
    providers_for,
    run_options_from_config,
)

RUN_ERRORS = (*ORT_ERRORS, RuntimeError, ValueError, TypeError, MemoryError)


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        steps = json.loads(config["parameters"]["steps"]["string_value"])
        model = Path(args["model_repository"])
        version = model / args["model_version"]
        place = next(place for place, step in enumerate(steps) if step["kind"] == "onnx")
        network, after = steps[place], steps[place + 1 :]
        self.before = [Link(step, version, model / "labels.txt") for step in steps[:place]]
        self.after = [Link(step, version, model / "labels.txt") for step in after]
        self.taken: dict[str, str] = network["inputs"]
        self.made: dict[str, str] = network["outputs"]
        self.inputs, self.outputs = (tuple(tensor["name"] for tensor in config[key]) for key in ("input", "output"))
        made = {outer for step in (network, *after) for outer in step["outputs"].values()}
        wanted = [outer for step in (network, *after) for outer in step["inputs"].values()]
        # What the network and the steps after it take from those before it.
        self.carried = tuple(dict.fromkeys(outer for outer in (*wanted, *self.outputs) if outer not in made))
        self.can_join = int(config["max_batch_size"]) > 0
        file = version / network["model"] / "model.onnx"
        self.session = opened_session(file, options_from_config(config), providers_for("CPU", 0))
        self.run_options = run_options_from_config(config)
        for sizes in network["warm"]:
            arrays = {name: np.zeros(dims, dtype) for name, (dtype, dims) in sizes.items()}
            self.session.run(list(self.made), arrays, self.run_options)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        responses: list[Any] = [None] * len(requests)
        calls: list[Call] = []
        for index, request in enumerate(requests):
            arrays = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}
            try:
                for link in self.before:
                    link.pass_on(arrays)
            except ValueError as err:
                responses[index] = refusal(str(err), pb_utils.TritonError.INVALID_ARG)
            else:
                calls.append(Call(index, {name: arrays[name] for name in self.carried}, self.outputs))
        for call, made, error in answers(calls, self.run, RUN_ERRORS, can_join=self.can_join):
            responses[call.position] = response(made, error)
        return responses

    def run(self, wanted: Sequence[str], inputs: Mapping[str, Array]) -> Sequence[Array]:
        """The network and the steps after it, of all requests at once."""
        arrays = dict(inputs)
        taken = {name: arrays[outer] for name, outer in self.taken.items()}
        arrays.update(zip(self.made.values(), self.session.run(list(self.made), taken, self.run_options), strict=True))
        for link in self.after:
            link.pass_on(arrays)
        return [arrays[name] for name in wanted]


class Link:
    """A step and the ensemble's names for its tensors."""

    def __init__(self, told: Mapping[str, Any], version: Path, labels_file: Path) -> None:
        module = importlib.import_module(told["kind"])
        self.inputs, self.outputs = told["inputs"], told["outputs"]
        folder = version / told["model"]
        self.step = module.Step(told["parameters"], list(self.inputs), list(self.outputs), folder, labels_file)

    def pass_on(self, arrays: dict[str, Array]) -> None:
        made = self.step.run({name: arrays[outer] for name, outer in self.inputs.items()})
        for name, array in made.items():
            arrays[self.outputs[name]] = array


def response(made: Mapping[str, Array], error: Exception | None) -> Any:
    if error is not None:
        return refusal(
            f"the model could not run on this request ({plain_reason(error)})", pb_utils.TritonError.INTERNAL
        )
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in made.items()])


def refusal(message: str, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
