"""The contract's models as Triton's ModelConfig protobuf: tensors, platforms, ensembles."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tritonclient.grpc import model_config_pb2 as pb

from ai102.configs.serving_config import data_type, serve_in_one_process, serve_network, sized, warm_runs
from ai102.contract import SEALED, Contract, Ensemble, Network, ServedModel, Step, Tensor, network_step
from ai102_runtime.data_types import BY_NAME

Target = Literal["onnxruntime", "tensorrt"]


def config_from_model(
    model: ServedModel, contract: Contract, models: Mapping[str, ServedModel], target: Target
) -> pb.ModelConfig:
    """The model's config for that target; `models` holds all models of the contract, by name."""
    if runs_in_one_process(model, contract, target):
        return _config_of_one_process(model, contract, models)
    if model.kind == "sealed":
        return _config_of_sealed(model, models)
    if model.network is None:
        return _config_of_ensemble(model, contract.ensembles[model.name], models)
    return _config_of_network(model, contract.networks[model.network], target, contract.server.triton)


def runs_in_one_process(model: ServedModel, contract: Contract, target: Target) -> bool:
    """Whether the model is an ensemble that is served as one Python model for this target."""
    return target == "onnxruntime" and model.kind == "ensemble" and contract.ensembles[model.name].in_one_process


def _config_of_network(model: ServedModel, network: Network, target: Target, triton: str) -> pb.ModelConfig:
    is_plan = model.kind == "onnx" and target == "tensorrt" and model.name.endswith("_int8")
    labelled = {tensor.name for tensor in network.outputs} if network.labels else set()
    config = pb.ModelConfig(
        name=model.name,
        max_batch_size=model.max_batch_size,
        input=[_input(tensor) for tensor in model.inputs],
        output=[_output(tensor, "labels.txt" if tensor.name in labelled else "") for tensor in model.outputs],
    )
    if model.kind == "onnx":
        config.platform = "tensorrt_plan" if is_plan else "onnxruntime_onnx"
        serve_network(config, network, is_plan=is_plan, target=target, triton=triton)
    else:
        config.backend = "python"
        config.instance_group.add(kind=pb.ModelInstanceGroup.KIND_CPU, count=1)
        config.dynamic_batching.SetInParent()  # batch the queued requests, without a delay
    for key, value in ({} if is_plan else parameters(model, network)).items():
        config.parameters[key].string_value = value
    return config


def parameters(model: ServedModel, network: Network) -> dict[str, str]:
    """The `parameters` of the model's config, which its backend reads."""
    match model.kind:
        case "onnx":
            threads = {"intra_op_thread_count": str(network.instances.threads)}
            takes_floats = any(BY_NAME[tensor.type].is_float for tensor in model.inputs)
            checks = {"refuse_nonfinite": "true"} if takes_floats and not network.allow_nonfinite else {}
            return threads | checks | network.parameters
        case "decode_image":
            height, width, channels = network.image_size
            image, floats = network.image, network.inputs[0].type == "FP32"
            more = {"shortest_edge": str(image.shortest_edge)} if image.shortest_edge else {}
            more |= {"type": "FP32"} if floats else {}
            more |= {"mean": _list(image.mean), "std": _list(image.std)} if floats and image.mean else {}
            return more | {
                "height": str(height),
                "width": str(width),
                "channels": str(channels),
                "layout": str(network.inputs[0].layout),
                "resample": network.image.resample,
                "max_megapixels": f"{network.max_megapixels:g}",
            }
        case "tokenize_text":
            assert network.text is not None
            pad_id = {} if network.text.pad_id is None else {"pad_id": str(network.text.pad_id)}
            return pad_id | {"lengths": _list(network.text.lengths), "max_bytes": str(network.text.max_bytes)}
        case _:
            return {}


def _list(values: Sequence[float]) -> str:
    return ",".join(map(str, values))


def _config_of_ensemble(model: ServedModel, ensemble: Ensemble, models: Mapping[str, ServedModel]) -> pb.ModelConfig:
    config = pb.ModelConfig(
        name=model.name,
        platform="ensemble",
        max_batch_size=model.max_batch_size,
        input=[_input(tensor, is_outer=True) for tensor in model.inputs],
        output=[_output(tensor, is_outer=True) for tensor in model.outputs],
    )
    if ensemble.response_cache:
        config.response_cache.enable = True
    for step in ensemble.steps:
        config.ensemble_scheduling.step.append(
            pb.ModelEnsembling.Step(
                model_name=step.model,
                model_version=-1,
                input_map={t.name: step.inputs.get(t.name, t.name) for t in models[step.model].inputs},
                output_map={t.name: step.outputs.get(t.name, t.name) for t in models[step.model].outputs},
            )
        )
    return config


def _config_of_one_process(model: ServedModel, contract: Contract, models: Mapping[str, ServedModel]) -> pb.ModelConfig:
    ensemble = contract.ensembles[model.name]
    inside = network_step(ensemble, models)
    assert inside.network is not None
    network = contract.networks[inside.network]
    scores = next(step.outputs for step in ensemble.steps if step.model == inside.name)
    labelled = {scores.get(tensor.name, tensor.name) for tensor in network.outputs} if network.labels else set()
    config = pb.ModelConfig(
        name=model.name,
        backend="python",
        max_batch_size=model.max_batch_size,
        input=[_input(tensor, is_outer=True) for tensor in model.inputs],
        output=[
            _output(tensor, "labels.txt" if tensor.name in labelled else "", is_outer=True) for tensor in model.outputs
        ],
    )
    if ensemble.response_cache:
        config.response_cache.enable = True
    serve_in_one_process(config, network)
    step_parameters = parameters(inside, network)
    step_parameters["steps"] = json.dumps(
        [_described_step(step, models[step.model], network) for step in ensemble.steps]
    )
    for key, value in step_parameters.items():
        config.parameters[key].string_value = value
    return config


def _config_of_sealed(model: ServedModel, models: Mapping[str, ServedModel]) -> pb.ModelConfig:
    config = pb.ModelConfig(
        name=model.name,
        backend="python",
        max_batch_size=model.max_batch_size,
        input=[_input(tensor) for tensor in model.inputs],
        output=[_output(tensor) for tensor in model.outputs],
    )
    config.instance_group.add(kind=pb.ModelInstanceGroup.KIND_CPU, count=1)
    if model.max_batch_size:
        config.dynamic_batching.SetInParent()  # queued requests are decrypted and run as one batch
    inside = models[model.name.removeprefix(SEALED)]
    config.parameters["model"].string_value = inside.name
    config.parameters["outputs"].string_value = ",".join(tensor.name for tensor in inside.outputs)
    return config


def _described_step(step: Step, model: ServedModel, network: Network) -> dict[str, Any]:
    """The description of a step for the one process; for a network also the arrays that warm it up."""
    step_parameters: dict[str, Any] = {
        "model": model.name,
        "kind": model.kind,
        "inputs": {tensor.name: step.inputs.get(tensor.name, tensor.name) for tensor in model.inputs},
        "outputs": {tensor.name: step.outputs.get(tensor.name, tensor.name) for tensor in model.outputs},
    }
    if model.kind != "onnx":
        return step_parameters | {"parameters": parameters(model, network)}
    types = {tensor.name: BY_NAME[tensor.type].numpy_name for tensor in model.inputs}
    is_plain = "object" not in types.values() and model.max_batch_size > 0
    runs = warm_runs(network) if is_plain else ()
    return step_parameters | {
        "warm": [
            {tensor.name: (types[tensor.name], [batch, *sized(tensor, length)]) for tensor in network.inputs}
            for length, batch in runs
        ]
    }


def _input(tensor: Tensor, *, is_outer: bool = False) -> pb.ModelInput:
    layout = f"FORMAT_{tensor.layout}" if tensor.layout else "FORMAT_NONE"
    return pb.ModelInput(
        name=tensor.name,
        data_type=data_type(tensor),
        dims=tensor.dims or [1],
        format=pb.ModelInput.Format.Value(layout),
        reshape=None if tensor.dims or is_outer else pb.ModelTensorReshape(),
    )


def _output(tensor: Tensor, label_filename: str = "", *, is_outer: bool = False) -> pb.ModelOutput:
    return pb.ModelOutput(
        name=tensor.name,
        data_type=data_type(tensor),
        dims=tensor.dims or [1],
        label_filename=label_filename,
        # Triton has no tensors without dimensions: a scalar is sent as [1] and reshaped to [] for the network.
        reshape=None if tensor.dims or is_outer else pb.ModelTensorReshape(),
    )
