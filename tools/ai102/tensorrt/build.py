"""Builds a TensorRT plan from an ONNX file with Q/DQ pairs. TensorRT 10 and 11 share one code path.

The module is a parameter, `trt`: NVIDIA's `tensorrt_rtx`, which compiles without a GPU, runs through the same code.
ai102.tensorrt.doctor says where TensorRT loads a plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from ai102 import artifact
from ai102.code_hash import code_hash
from ai102.contract import Network, TensorRTOptions
from ai102.errors import UserError
from ai102.progress import Progress
from ai102.tensorrt.gpu import Machine
from ai102.tensorrt.layers import (
    BuiltLayer,
    layers_from_inspector,
    layers_from_log,
    nodes_in_int8,
    nodes_meant_for_int8,
)
from ai102.tensorrt.messages import PARTS, Messages, logger_of, monitor_of
from ai102.tensorrt.profiles import Profile, profiles_of_network

TIMING_CACHE = "model.timing_cache"


class Plan(NamedTuple):
    """The builder's result."""

    data: bytes
    layers: tuple[BuiltLayer, ...]  # empty if the builder did not list them and no GPU can load the plan
    timing_cache: bytes


def install(
    trt: Any,
    name: str,
    onnx_file: Path,
    network: Network,
    version_folder: Path,
    machine: Machine,
    *,
    per_compute_capability: bool = False,
    timing_cache: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> bool:
    """Build `onnx_file` into `version_folder` as model.plan with its manifest; returns whether it was built now.

    `per_compute_capability` names it like model.sm90.plan, for cc_model_filenames in config.pbtxt. The manifest
    (model.plan.made.json) holds everything that decides where the plan loads. `name` is the network's in models.toml.
    `timing_cache` holds the timings of earlier builds; by default it is a file in the same folder.
    Raises UserError with every TensorRT error in one line.
    """
    capability = machine.compute_capability
    if per_compute_capability and capability is None:
        raise UserError(f"{name}: no GPU on this machine, so there is no compute capability to name the plan by")
    file = version_folder / (plan_filename(str(capability)) if per_compute_capability else "model.plan")
    cache = timing_cache or version_folder / TIMING_CACHE
    options, profiles = network.tensorrt, profiles_of_network(network)
    flags = options.model_dump(mode="json", exclude={"opt_batch_size", "float_precision", "cuda_graphs"})
    origin = {
        "product": str(trt.__name__),
        "tensorrt": str(trt.__version__),
        "compute_capability": capability or "",
        "onnx_sha256": artifact.sha256_of_file(onnx_file),
    }

    def write(temporary: Path) -> Mapping[str, object]:
        known = cache.read_bytes() if cache.is_file() else b""
        plan = plan_from_onnx(trt, onnx_file, profiles, options, timing_cache=known, progress=progress)
        temporary.write_bytes(plan.data)
        with artifact.replacing(cache) as temporary_cache:
            temporary_cache.write_bytes(plan.timing_cache)
        meant = nodes_meant_for_int8(onnx_file)
        in_int8 = nodes_in_int8(plan.layers, meant)
        return origin | {
            "compute_capability": capability,
            "network": name,
            "gpu": machine.gpu,
            "driver": machine.driver,
            "profiles": {tensor: profile._asdict() for tensor, profile in profiles.items()},
            "flags": flags,
            "built_on": datetime.now(UTC).date().isoformat(),
            "layers_meant_for_int8": len(meant),
            "layers_in_int8": len(in_int8) if plan.layers else None,
            "layers_not_in_int8": [node for node in meant if node not in in_int8] if plan.layers else None,
        }

    made_from = {"profiles": repr(profiles), "flags": repr(flags), "code": code_hash(__name__)}
    return artifact.make(file, origin | made_from, write)


def plan_filename(compute_capability: str) -> str:
    """`model.sm90.plan` of "9.0"."""
    return f"model.sm{compute_capability.replace('.', '')}.plan"


def cc_model_filenames(version_folder: Path) -> dict[str, str]:
    """The entries of cc_model_filenames in config.pbtxt: by compute capability, the plan that was built for it."""
    plans = [*version_folder.glob("model.sm*.plan")]
    named = {str(artifact.facts_of(plan)["compute_capability"]): plan.name for plan in plans}
    return dict(sorted(named.items(), key=lambda entry: float(entry[0])))


def plan_from_onnx(
    trt: Any,
    onnx_file: Path,
    profiles: Mapping[str, Profile],
    options: TensorRTOptions,
    *,
    timing_cache: bytes = b"",
    progress: Progress = lambda done, total: None,
) -> Plan:
    """Raises UserError with every parser and builder error, each with the node it concerns."""
    logger, messages = logger_of(trt)
    messages.clear()
    builder = trt.Builder(logger)
    # Strongly typed: the graph's own types apply. TensorRT 11 has no other mode; the flag's bit differs.
    definition = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(trt, definition, logger, messages, onnx_file)
    config = builder.create_builder_config()
    _set_options(trt, config, options)
    _add_profile(builder, definition, config, profiles, onnx_file)
    _set_timing_cache(config, timing_cache)
    monitor = monitor_of(trt, progress)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(definition, config)
    if monitor.interruption is not None:
        raise monitor.interruption
    if plan is None:
        raise UserError(f"{onnx_file}: TensorRT {trt.__version__} cannot build it: {_joined(messages.errors)}")
    progress(PARTS, PARTS)
    data = bytes(plan)
    if messages.layer_list is None:
        layers = _layers_of_loaded(trt, logger, data)
    else:
        layers = layers_from_log(messages.layer_list)
    return Plan(data, layers, bytes(config.get_timing_cache().serialize()))


def _parse(trt: Any, definition: Any, logger: Any, messages: Messages, onnx_file: Path) -> None:
    parser = trt.OnnxParser(definition, logger)
    if parser.parse_from_file(str(onnx_file)) and not parser.num_errors:
        return
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    descriptions = [f"{error.node_operator()} {error.node_name()}: {error.desc()}" for error in errors]
    raise UserError(
        f"{onnx_file}: TensorRT {trt.__version__} cannot read it: {_joined(descriptions or messages.errors)}"
    )


def _set_options(trt: Any, config: Any, options: TensorRTOptions) -> None:
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    config.builder_optimization_level = options.optimization_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # otherwise the layer list holds no types
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    match options.hardware_compatibility:
        case "ampere_plus":
            config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        case "same_compute_capability":
            if not hasattr(trt.HardwareCompatibilityLevel, "SAME_COMPUTE_CAPABILITY"):
                raise UserError(
                    f'tensorrt.hardware_compatibility is "same_compute_capability", which TensorRT {trt.__version__} '
                    'does not know; use 10.9 or later, or write "ampere_plus"'
                )
            config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY


def _add_profile(builder: Any, definition: Any, config: Any, profiles: Mapping[str, Profile], onnx_file: Path) -> None:
    inputs = [definition.get_input(index) for index in range(definition.num_inputs)]
    if (names := {tensor.name for tensor in inputs}) != profiles.keys():
        raise UserError(f"{onnx_file}: takes {sorted(names)}, models.toml says {sorted(profiles)}")
    added = builder.create_optimization_profile()
    for tensor in inputs:
        shapes, dims = profiles[tensor.name], tuple(tensor.shape)
        if any(len(shape) != len(dims) for shape in shapes) or any(
            size not in (-1, declared) for shape in shapes for size, declared in zip(dims, shape, strict=True)
        ):
            raise UserError(f"{onnx_file}: {tensor.name} is {list(dims)}, models.toml says {list(shapes.most)} at most")
        added.set_shape(tensor.name, *shapes)
    if config.add_optimization_profile(added) < 0:
        shown = ", ".join(f"{tensor} {profile}" for tensor, profile in profiles.items())
        raise UserError(f"{onnx_file}: TensorRT refuses the shapes {shown}: smallest <= tuned for <= largest must hold")


def _set_timing_cache(config: Any, known: bytes) -> None:
    cache = config.create_timing_cache(known)
    if cache is None or not config.set_timing_cache(cache, False):  # from another version or another GPU
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _layers_of_loaded(trt: Any, logger: Any, data: bytes) -> tuple[BuiltLayer, ...]:
    engine = trt.Runtime(logger).deserialize_cuda_engine(data)
    if engine is None:
        return ()
    inspector = engine.create_engine_inspector()
    return layers_from_inspector(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def _joined(errors: list[str]) -> str:
    """Errors in one line, without duplicates; TensorRT's messages span several lines."""
    single = dict.fromkeys(" ".join(error.split()) for error in errors)
    return "; ".join(single) or "it gave no reason"
