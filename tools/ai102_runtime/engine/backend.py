"""A Python-based backend of Triton around an engine: completes configs, checks them, answers requests.

A backend's model.py takes a class from here with its engine. Triton runs it in a process for each model instance.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import triton_python_backend_utils as pb_utils  # only inside Triton

from ai102_runtime.engine.announced import announced
from ai102_runtime.engine.batch import Array, Call, answers
from ai102_runtime.engine.engine import EngineKind, Instance
from ai102_runtime.engine.parameters import parameters_from_config, truth
from ai102_runtime.engine.request_arrays import (
    BadRequestError,
    array_from_tensor,
    check_finite,
    check_symbols,
    shared_symbols,
    tensor_from_array,
)
from ai102_runtime.engine.signature import Signature, TensorSpec, check_agreement, completion

# Triton's own default of --backend-config=default-max-batch-size.
DEFAULT_MAX_BATCH_SIZE = 4


class ServedFile:
    """One instance of one model. A backend names its engine in `engine_kind`."""

    engine_kind: ClassVar[EngineKind]

    @classmethod
    def auto_complete_config(cls, auto_complete_model_config: Any) -> Any:
        """Fill in what config.pbtxt leaves out; like NVIDIA's backend, only if inputs or outputs are missing."""
        config = auto_complete_model_config.as_dict()
        if config.get("input") and config.get("output"):
            return auto_complete_model_config
        # Triton tells this step no path; the process that runs it has the model file as its first argument.
        signature = cls.engine_kind.signature_from_file(Path(_command_line("self")[1]), config)
        server = _command_line(str(os.getppid()))
        completed = completion(config, signature, default_max_batch_size(server, cls.engine_kind.backend))
        # Written into the dictionary itself: add_input takes no reshape, which a tensor [batch] needs.
        config["max_batch_size"] = completed.max_batch_size
        config["input"].extend(completed.inputs)
        config["output"].extend(completed.outputs)
        if completed.wants_dynamic_batching:
            auto_complete_model_config.set_dynamic_batching()
        return auto_complete_model_config

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the file; raises ModelRefusedError in one line when file and config do not go together."""
        config = json.loads(args["model_config"])
        file = config.get("default_model_filename") or self.engine_kind.usual_file
        path = Path(args["model_repository"], args["model_version"], file)
        instance = Instance(args["model_instance_kind"], int(args["model_instance_device_id"]))
        self.engine = self.engine_kind.opened(path, config, instance)
        check_agreement(config, self.engine.signature)
        self.announced = announced(args, self.engine.title)
        self.has_batch = int(config["max_batch_size"]) > 0
        self.refuses_nonfinite = truth(parameters_from_config(config), "refuse_nonfinite", default=False)
        self._learn_tensors(config, self.engine.signature)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request, those that Triton batched in one run of the engine."""
        responses: list[Any] = [None] * len(requests)
        calls = []
        for index, request in enumerate(requests):
            try:
                calls.append(Call(index, self._arrays(request), tuple(request.requested_output_names())))
            except BadRequestError as err:
                responses[index] = _refusal(str(err), is_clients_fault=True)
        # Held until the next call: Triton copies the answers out after this function has returned.
        self.alive: list[Any] = []
        for answer in answers(calls, self.engine.run, self.engine.errors, can_join=self.has_batch):
            if answer.error is None:
                tensors = [self.tensor_from_array(name, array) for name, array in answer.outputs.items()]
                responses[answer.call.position] = pb_utils.InferenceResponse(output_tensors=tensors)
            else:
                responses[answer.call.position] = self._refusal_for(answer.error)
        return responses

    def array_from_tensor(self, tensor: Any, spec: TensorSpec) -> Array:
        """Of an input. An engine with types that numpy lacks has its own."""
        return array_from_tensor(tensor, spec)

    def tensor_from_array(self, name: str, array: Array) -> Any:
        """Of an output."""
        return tensor_from_array(name, array, self.config_dims[name])

    def _learn_tensors(self, config: Mapping[str, Any], signature: Signature) -> None:
        self.inputs: dict[str, TensorSpec] = {t.name: t for t in (*signature.inputs, *signature.defaults)}
        self.outputs: dict[str, TensorSpec] = {t.name: t for t in signature.outputs}
        self.config_dims = {t["name"]: [int(dim) for dim in t["dims"]] for t in config["output"]}
        self.shared_symbols = shared_symbols(signature.inputs, has_batch=self.has_batch)

    def _arrays(self, request: Any) -> dict[str, Array]:
        arrays = {}
        for tensor in request.inputs():
            spec = self.inputs[tensor.name()]
            array = arrays[spec.name] = self.array_from_tensor(tensor, spec)
            if self.refuses_nonfinite:
                check_finite(array, spec)
        if self.shared_symbols:
            check_symbols(arrays, self.shared_symbols)
        return arrays

    def _refusal_for(self, error: Exception) -> Any:
        is_clients_fault = self.engine.is_clients_fault(error)
        advice = (
            "send the shapes and types of the model's config" if is_clients_fault else "check the values and sizes sent"
        )
        message = f"the model could not run on this request ({self.engine.reason(error)}): {advice}"
        return _refusal(message, is_clients_fault)


def default_max_batch_size(server_command_line: Sequence[str], own_backend: str) -> int:
    """What --backend-config of the server says; Triton does not hand it to a Python-based backend."""
    sizes = {"": DEFAULT_MAX_BATCH_SIZE}
    for place, argument in enumerate(server_command_line):
        option, _, value = argument.partition("=")
        if option != "--backend-config":
            continue
        setting = value or "".join(server_command_line[place + 1 : place + 2])
        backend, comma, rest = setting.partition(",")
        key, _, number = (rest if comma else setting).partition("=")
        if key == "default-max-batch-size" and number.isdigit():
            sizes[backend if comma else ""] = int(number)
    return sizes.get(own_backend, sizes[""])


def _command_line(process: str) -> list[str]:
    return Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")


def _refusal(message: str, is_clients_fault: bool) -> Any:
    code = pb_utils.TritonError.INVALID_ARG if is_clients_fault else pb_utils.TritonError.INTERNAL
    return pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(message, code))
