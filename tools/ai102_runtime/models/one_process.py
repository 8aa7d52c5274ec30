"""Triton model: all steps of an ensemble in this process, its network on the engine judged fastest here.

On a CPU each hop between the models of an ensemble costs more than a small step does; here a tensor is handed on by
reference. The steps before the network take each request by itself, the others all of them at once.
"""

import importlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from ai102_runtime import steps
from ai102_runtime.engine.announced import announced
from ai102_runtime.engine.batch import Array, Call, answers
from ai102_runtime.engine.engine import Instance
from ai102_runtime.onnx import judged
from ai102_runtime.recording import recorder_from_environment
from ai102_runtime.steps.step import Step


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        entries = json.loads(config["parameters"]["steps"]["string_value"])
        model = Path(args["model_repository"])
        version = model / args["model_version"]
        position = next(position for position, entry in enumerate(entries) if entry["kind"] == "onnx")
        network, after = entries[position], entries[position + 1 :]
        self.before = [Link(step, version, model / "labels.txt") for step in entries[:position]]
        self.after = [Link(step, version, model / "labels.txt") for step in after]
        self.network_inputs: dict[str, str] = network["inputs"]
        self.network_outputs: dict[str, str] = network["outputs"]
        self.inputs, self.outputs = (tuple(tensor["name"] for tensor in config[key]) for key in ("input", "output"))
        produced = {outer for step in (network, *after) for outer in step["outputs"].values()}
        consumed = [outer for step in (network, *after) for outer in step["inputs"].values()]
        # What the network and the steps after it take from those before it.
        self.carried = tuple(dict.fromkeys(outer for outer in (*consumed, *self.outputs) if outer not in produced))
        self.can_join = int(config["max_batch_size"]) > 0
        file = version / network["model"] / "model.onnx"
        self.engine = judged.opened(file, config, Instance(), pb_utils.Logger.log_warn)
        self.announced = announced(args, self.engine.title)
        for sizes in network["warm"]:
            arrays = {name: np.zeros(dims, dtype) for name, (dtype, dims) in sizes.items()}
            self.engine.run(list(self.network_outputs), arrays)
        self.recorder = recorder_from_environment(
            os.environ, args["model_name"], model / "labels.txt", has_batch=self.can_join
        )

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
                if self.recorder is not None:
                    self.recorder.failed(request, "refused")
            else:
                calls.append(Call(index, {name: arrays[name] for name in self.carried}, self.outputs))
        for call, outputs, error in answers(calls, self.run, self.engine.errors, can_join=self.can_join):
            responses[call.position] = response(outputs, None if error is None else self.engine.reason(error))
            if self.recorder is not None:
                if error is None:
                    self.recorder.answered(requests[call.position], outputs)
                else:
                    self.recorder.failed(requests[call.position], "failed")
        return responses

    def finalize(self) -> None:
        if self.recorder is not None:
            self.recorder.close()

    def run(self, names: Sequence[str], inputs: Mapping[str, Array]) -> Sequence[Array]:
        """The network and the steps after it, of all requests at once."""
        arrays = dict(inputs)
        feeds = {name: arrays[outer] for name, outer in self.network_inputs.items()}
        outputs = self.engine.run(list(self.network_outputs), feeds)
        arrays.update(zip(self.network_outputs.values(), outputs, strict=True))
        for link in self.after:
            link.pass_on(arrays)
        return [arrays[name] for name in names]


class Link:
    """A step and the ensemble's names for its tensors."""

    def __init__(self, entry: Mapping[str, Any], version: Path, labels_file: Path) -> None:
        """`entry` is one of the config's parameter `steps`."""
        module = importlib.import_module(f"{steps.__name__}.{entry['kind']}")
        self.inputs, self.outputs = entry["inputs"], entry["outputs"]
        folder = version / entry["model"]
        self.step: Step = module.Step(entry["parameters"], list(self.inputs), list(self.outputs), folder, labels_file)

    def pass_on(self, arrays: dict[str, Array]) -> None:
        outputs = self.step.run({name: arrays[outer] for name, outer in self.inputs.items()})
        for name, array in outputs.items():
            arrays[self.outputs[name]] = array


def response(outputs: Mapping[str, Array], reason: str | None) -> Any:
    if reason is not None:
        return refusal(f"the model could not run on this request ({reason})", pb_utils.TritonError.INTERNAL)
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in outputs.items()])


def refusal(message: str, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
