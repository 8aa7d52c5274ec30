"""A model file that OpenVINO has read: its signature, and a copy without weights that says which shapes go together."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ai102_runtime.engine.signature import ModelRefusedError, Signature, TensorSpec
from ai102_runtime.openvino.library import ov
from ai102_runtime.openvino.settings import Settings

# What Triton's own backend takes; OpenVINO has more.
TYPES = {"boolean": "TYPE_BOOL", "f16": "TYPE_FP16", "f32": "TYPE_FP32"}
TYPES |= {
    f"{letter}{bits}": f"TYPE_{word}{bits}"
    for letter, word in (("u", "UINT"), ("i", "INT"))
    for bits in (8, 16, 32, 64)
}
OTHER_TYPES = {"f64": "FP64", "bf16": "BF16", "string": "STRING"}
# Constants with fewer elements may be shapes or axes, on which other shapes depend.
FEW_ELEMENTS = 4096
WEIGHT = "ai102 weight"


def read_model(core: Any, path: Path, settings: Settings, config: Mapping[str, Any]) -> Any:
    """Read an .xml with its .bin, or an ONNX file; ModelRefusedError says what is wrong with it."""
    file = path / "model.onnx" if path.is_dir() and path.suffix == ".onnx" else path
    shown = "/".join(file.parts[-3:] if file is not path else file.parts[-2:])
    if not file.exists():
        raise ModelRefusedError(f"{shown} is missing: build or copy it there (in this project: `make engine`)")
    if file.suffix == ".xml" and not file.with_suffix(".bin").is_file():
        raise ModelRefusedError(f"{shown} has its weights in {file.stem}.bin, which is missing: copy that file too")
    try:
        add_extension(core, settings)
        model = core.read_model(file)
        if settings.is_reshaped:
            model.reshape(_dims_from_config(config))
    except RuntimeError as err:
        raise ModelRefusedError(f"{shown} {_advice(err)}") from None
    return model


def add_extension(core: Any, settings: Settings) -> None:
    """Make known the library of operators that the config names, if any."""
    if not settings.extension:
        return
    try:
        core.add_extension(settings.extension)
    except RuntimeError as err:
        named = f"parameter CPU_EXTENSION_PATH is {settings.extension!r}"
        raise ModelRefusedError(f"{named}, which cannot be loaded: {plain_reason(err)}") from None


def _dims_from_config(config: Mapping[str, Any]) -> dict[str, list[int]]:
    batch = [-1] if int(config.get("max_batch_size", 0)) > 0 else []
    return {tensor["name"]: batch + [int(dim) for dim in tensor["dims"]] for tensor in config.get("input", [])}


def _advice(err: RuntimeError) -> str:
    text = str(err)
    if "Unable to read the model" in text:
        return "is not a whole model file: build or copy it again (in this project: `make engine`)"
    if "weights" in text and "bin file" in text:
        return "does not go with the .bin beside it: copy both anew"
    return f"cannot be opened by OpenVINO {version()}: {plain_reason(err)}"


def version() -> str:
    """Without the number of the build."""
    return str(ov.get_version()).partition("-")[0]


def signature_from_model(model: Any) -> Signature:
    """The names, types and dims. Raises ModelRefusedError for types that Triton's own backend does not take."""
    ports = [port for port in model.inputs if not port.node.friendly_name.startswith(WEIGHT)]
    return Signature(
        tuple(_spec(port, "input") for port in ports),
        tuple(_spec(port, "output") for port in model.outputs),
        completes_batch=all(_has_batch(port) for port in (*ports, *model.outputs)),
    )


def _spec(port: Any, kind: str) -> TensorSpec:
    if not port.names:
        raise ModelRefusedError(f"an {kind} of the model file has no name: save it with named tensors")
    name, element = port.any_name, port.element_type.get_type_name()
    if element not in TYPES:
        raise ModelRefusedError(
            f"{kind} {name!r} is {OTHER_TYPES.get(element, element)}, which Triton's OpenVINO backend does not take: "
            'export it as FP32, or serve the file with platform: "onnxruntime_onnx"'
        )
    shape = port.partial_shape
    if shape.rank.is_dynamic:
        raise ModelRefusedError(f"{kind} {name!r} has no number of dimensions in the file: export it with a shape")
    return TensorSpec(name, TYPES[element], tuple(dim.get_length() if dim.is_static else -1 for dim in shape))


def _has_batch(port: Any) -> bool:
    """The rule of Triton's own backend: the file says which dimension is the batch. ONNX files never do."""
    layout = ov.layout_helpers.get_layout(port)
    return bool(ov.layout_helpers.has_batch(layout))


def without_weights(model: Any) -> Any:
    """A copy in which each large constant is an input of its shape: small, and shapes come out as in the model."""
    light = model.clone()
    weights = []
    for place, node in enumerate(light.get_ordered_ops()):
        if node.get_type_name() == "Constant" and math.prod(node.output(0).shape) > FEW_ELEMENTS:
            weight = ov.op.Parameter(node.output(0).element_type, node.output(0).partial_shape)
            weight.friendly_name = f"{WEIGHT} {place}"
            for target in node.output(0).get_target_inputs():
                target.replace_source_output(weight.output(0))
            weights.append(weight)
    light.add_parameters(weights)
    light.validate_nodes_and_infer_types()
    return light


def bounds_of_indices(model: Any) -> dict[str, int]:
    """By input: the rows of the smallest table that its values are looked up in as they are."""
    bounds: dict[str, int] = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Gather" or (source := _given(node.input_value(1))) is None:
            continue
        axis, shape = node.input_value(2).get_node(), node.input_value(0).get_partial_shape()
        if axis.get_type_name() != "Constant" or shape.rank.is_dynamic:
            continue
        rows = shape[int(axis.get_data().item())]
        if rows.is_static:
            name = source.output(0).any_name
            bounds[name] = min(rows.get_length(), bounds.get(name, rows.get_length()))
    return bounds


def _given(value: Any) -> Any:
    """The input of the model that a value is, but for its shape and type; None when it is computed."""
    node = value.get_node()
    while node.get_type_name() in ("Convert", "Reshape", "Squeeze", "Unsqueeze"):
        node = node.input_value(0).get_node()
    is_input = node.get_type_name() == "Parameter" and not node.friendly_name.startswith(WEIGHT)
    return node if is_input else None


def plain_reason(err: Exception) -> str:
    """The core of one of OpenVINO's messages: one line without checks, source places and folders."""
    lines = [line.strip() for line in str(err).splitlines()]
    step = re.search(r"While validating node '\w+::(\w+)", str(err))
    noise = ("Exception from ", "Check '", "While validating ", "FrontEnd API failed", "Summary:", "To facilitate ")
    text = " ".join(line for line in lines if line and not line.startswith(noise))
    text = re.sub(r"(?:/[\w.+-]+){2,}/?", "(path)", text).rstrip(". ")[:300] or "it gives no reason"
    return f"{text}, in a step {step[1]}" if step else text
