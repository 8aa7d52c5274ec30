"""Triton's backend `onnxruntime` in Python: serves ONNX files where NVIDIA's own backend is not installed.

The backend's model.py takes the class from here. Triton runs it in a Python process for each model instance.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort
import triton_python_backend_utils as pb_utils  # only inside Triton

from ai102_runtime.onnx.batch import Array, Call, answers
from ai102_runtime.onnx.request_arrays import (
    BadRequestError,
    array_from_tensor,
    check_finite,
    check_symbols,
    shared_symbols,
    tensor_from_array,
    uint16_from_bfloat16,
    value_from_uint16,
)
from ai102_runtime.onnx.session_setup import (
    ORT_ERRORS,
    opened_session,
    options_from_config,
    parameters_from_config,
    plain_reason,
    providers_for,
    run_options_from_config,
    truth,
)
from ai102_runtime.onnx.signature import (
    Signature,
    TensorSpec,
    check_agreement,
    completion,
    signature_from_session,
)

# Triton's own default of --backend-config=default-max-batch-size.
DEFAULT_MAX_BATCH_SIZE = 4
RUN_ERRORS = (*ORT_ERRORS, RuntimeError, ValueError, TypeError, MemoryError)


class TritonPythonModel:
    """One instance of one model."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Fill in what config.pbtxt leaves out; like NVIDIA's backend, only if inputs or outputs are missing."""
        config = auto_complete_model_config.as_dict()
        if config.get("input") and config.get("output"):
            return auto_complete_model_config
        # Triton tells this step no path; the process that runs it has the model file as its first argument.
        session = opened_session(Path(_command_line("self")[1]), options_from_config(config), providers_for("CPU", 0))
        server = _command_line(str(os.getppid()))
        completed = completion(config, signature_from_session(session), default_max_batch_size(server))
        # Written into the dictionary itself: add_input takes no reshape, which a tensor [batch] needs.
        config["max_batch_size"] = completed.max_batch_size
        config["input"].extend(completed.inputs)
        config["output"].extend(completed.outputs)
        if completed.wants_dynamic_batching:
            auto_complete_model_config.set_dynamic_batching()
        return auto_complete_model_config

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the session; raises ModelRefusedError in one line when file and config do not go together."""
        config = json.loads(args["model_config"])
        file = config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"], args["model_version"], file)
        kind, device_id = args["model_instance_kind"], int(args["model_instance_device_id"])
        providers = providers_for(kind, device_id)
        self.session = opened_session(path, options_from_config(config), providers)
        signature = signature_from_session(self.session)
        check_agreement(config, signature)
        self.run_options = run_options_from_config(config)
        self.has_batch = int(config["max_batch_size"]) > 0
        self.refuses_nonfinite = truth(parameters_from_config(config), "refuse_nonfinite", default=False)
        self._learn_tensors(config, signature)
        if kind == "GPU" and "CUDAExecutionProvider" not in self.session.get_providers():
            pb_utils.Logger.log_warn(
                f"model {args['model_name']!r} asks for KIND_GPU and this onnxruntime cannot use the GPU: it runs on "
                "the CPU; install onnxruntime-gpu, or write KIND_CPU"
            )

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request, those that Triton batched in one run of the session."""
        responses: list[Any] = [None] * len(requests)
        calls = []
        for index, request in enumerate(requests):
            try:
                calls.append(Call(index, self._arrays(request), tuple(request.requested_output_names())))
            except BadRequestError as err:
                responses[index] = _refusal(str(err), is_clients_fault=True)
        # Held until the next call: Triton copies the answers out after this function has returned.
        self.alive: list[Any] = []
        for answer in answers(calls, self._run, RUN_ERRORS, can_join=self.has_batch):
            if answer.error is None:
                tensors = [self._tensor(name, array) for name, array in answer.outputs.items()]
                responses[answer.call.position] = pb_utils.InferenceResponse(output_tensors=tensors)
            else:
                responses[answer.call.position] = _refusal_for(answer.error)
        return responses

    def _learn_tensors(self, config: Mapping[str, Any], signature: Signature) -> None:
        self.inputs: dict[str, TensorSpec] = {t.name: t for t in (*signature.inputs, *signature.defaults)}
        self.outputs: dict[str, TensorSpec] = {t.name: t for t in signature.outputs}
        self.config_dims = {t["name"]: [int(dim) for dim in t["dims"]] for t in config["output"]}
        self.has_bfloat16 = any(t.data_type == "TYPE_BF16" for t in (*self.inputs.values(), *self.outputs.values()))
        self.shared_symbols = shared_symbols(signature.inputs, has_batch=self.has_batch)

    def _arrays(self, request: Any) -> dict[str, Array]:
        arrays = {}
        for tensor in request.inputs():
            spec = self.inputs[tensor.name()]
            array = arrays[spec.name] = array_from_tensor(tensor, spec)
            if self.refuses_nonfinite:
                check_finite(array, spec)
        if self.shared_symbols:
            check_symbols(arrays, self.shared_symbols)
        return arrays

    def _tensor(self, name: str, array: Array) -> Any:
        return tensor_from_array(name, array, self.outputs[name].data_type, self.config_dims[name], self.alive)

    def _run(self, names: Sequence[str], inputs: Mapping[str, Array]) -> Sequence[Array]:
        if not self.has_bfloat16:
            outputs: Sequence[Array] = self.session.run(list(names), dict(inputs), self.run_options)
            return outputs
        # numpy has no bfloat16, so these models take the longer way over OrtValue.
        values = {
            name: value_from_uint16(array)
            if self.inputs[name].data_type == "TYPE_BF16"
            else ort.OrtValue.ortvalue_from_numpy(array)
            for name, array in inputs.items()
        }
        results = self.session.run_with_ort_values(list(names), values, self.run_options)
        return [
            uint16_from_bfloat16(value) if self.outputs[name].data_type == "TYPE_BF16" else value.numpy()
            for name, value in zip(names, results, strict=True)
        ]


def default_max_batch_size(server_command_line: Sequence[str]) -> int:
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
    return sizes.get("onnxruntime", sizes[""])


def _command_line(process: str) -> list[str]:
    return Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")


def _refusal_for(error: Exception) -> Any:
    is_clients_fault = type(error).__name__ == "InvalidArgument"
    advice = (
        "send the shapes and types of the model's config" if is_clients_fault else "check the values and sizes sent"
    )
    return _refusal(f"the model could not run on this request ({plain_reason(error)}): {advice}", is_clients_fault)


def _refusal(message: str, is_clients_fault: bool) -> Any:
    code = pb_utils.TritonError.INVALID_ARG if is_clients_fault else pb_utils.TritonError.INTERNAL
    return pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(message, code))
