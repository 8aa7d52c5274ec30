"""OpenVINO on the CPU as an engine: one compiled model for all shapes, each new shape checked before it is run."""

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ai102_runtime.engine.batch import Array
from ai102_runtime.engine.engine import Config, EngineKind, Instance
from ai102_runtime.engine.signature import ModelRefusedError, Signature
from ai102_runtime.openvino import compiled_cache
from ai102_runtime.openvino.free_memory import give_back
from ai102_runtime.openvino.library import ov
from ai102_runtime.openvino.model_file import (
    add_extension,
    bounds_of_indices,
    plain_reason,
    read_model,
    signature_from_model,
    version,
    without_weights,
)
from ai102_runtime.openvino.settings import Settings, settings_from_config

MOST_KNOWN_SHAPES = 4096
BLOB, SHAPES = "model.blob", "shapes.xml"
PROCESSOR = ("FULL_DEVICE_NAME", "DEVICE_ARCHITECTURE", "OPTIMIZATION_CAPABILITIES")


class InputsError(ValueError):
    """Inputs that the model cannot take: shapes that do not go together, an index beyond its table."""


class OpenVino:
    """A compiled model."""

    title = f"OpenVINO {version()}"
    errors: tuple[type[Exception], ...] = (RuntimeError, ValueError, TypeError, MemoryError)

    def __init__(self, compiled: Any, shapes: Any, mapped: Array | None = None) -> None:
        """`shapes` is the model without its weights, `mapped` the memory that `compiled` has its weights in."""
        self.compiled = compiled
        self.request = compiled.create_infer_request()
        self.signature: Signature = signature_from_model(shapes)
        self.shapes = shapes
        self.bounds = bounds_of_indices(shapes)
        self.known_shapes: OrderedDict[tuple[Any, ...], None] = OrderedDict()
        self.outputs = {name: port for port in compiled.outputs for name in port.names}
        self.mapped = mapped  # the last attribute, so that it goes after what reads it

    def run(self, names: Sequence[str], feeds: Mapping[str, Array]) -> Sequence[Array]:
        self._check_shapes(feeds)
        self._check_indices(feeds)
        self.request.infer(feeds, share_inputs=True, share_outputs=True)
        # Copied, since the next run writes into the same memory.
        return [self.request.get_tensor(self.outputs[name]).data.copy() for name in names]

    def reason(self, error: Exception) -> str:
        return plain_reason(error)

    def is_clients_fault(self, error: Exception) -> bool:
        return isinstance(error, InputsError)

    def _check_shapes(self, feeds: Mapping[str, Array]) -> None:
        """The CPU plugin reads beyond a tensor whose shape does not go with another's, so each shape is tried once."""
        shapes = tuple([(name, array.shape) for name, array in feeds.items()])
        if shapes in self.known_shapes:
            self.known_shapes.move_to_end(shapes)
            return
        if missing := {tensor.name for tensor in self.signature.inputs} - feeds.keys():
            raise InputsError(f"input {min(missing)!r} is missing")
        try:
            self.shapes.reshape({name: list(shape) for name, shape in shapes})
        except RuntimeError as err:
            raise InputsError(plain_reason(err)) from None
        self.known_shapes[shapes] = None
        if len(self.known_shapes) > MOST_KNOWN_SHAPES:
            self.known_shapes.popitem(last=False)

    def _check_indices(self, feeds: Mapping[str, Array]) -> None:
        """The CPU plugin takes zeros for a row that a table does not have."""
        for name, rows in self.bounds.items():
            array = feeds[name]
            for index in (array.min(), array.max()) if array.size else ():
                if not -rows <= index < rows:
                    raise InputsError(
                        f"input {name!r} has {index}, out of data bounds, which are {-rows} and {rows - 1}"
                    )


def opened(path: Path, config: Config, instance: Instance) -> OpenVino:
    """Open a file on the CPU, compiled anew or as it was compiled at an earlier start."""
    if instance.kind != "CPU":
        raise ModelRefusedError(
            f"the instance is of KIND_{instance.kind}, and OpenVINO computes on the CPU: write KIND_CPU"
        )
    settings = settings_from_config(config)
    core = ov.Core()
    folder = compiled_cache.cache_folder(os.environ)
    if folder is None or not compiled_cache.may_hold(folder, path):
        return _compiled(core, path, settings, config)
    key = _key(core, path, settings, config)
    if (earlier := _earlier(core, folder, key, settings)) is not None:
        return earlier
    engine = _compiled(core, path, settings, config)
    _keep(folder, key, engine)
    # From the first start on as at all others, with the weights in memory that processes share.
    if (reopened := _earlier(ov.Core(), folder, key, settings)) is None:
        return engine
    del engine
    give_back()
    return reopened


def compiled(path: Path, config: Config) -> OpenVino:
    """As `opened`, and nothing is kept."""
    return _compiled(ov.Core(), path, settings_from_config(config), config)


def _compiled(core: Any, path: Path, settings: Settings, config: Config) -> OpenVino:
    model = read_model(core, path, settings, config)
    signature_from_model(model)  # before the time to compile is spent
    try:
        compiled_model = core.compile_model(model, "CPU", dict(settings.properties))
    except RuntimeError as err:
        shown = "/".join(path.parts[-2:])
        raise ModelRefusedError(f"{shown} cannot be compiled by OpenVINO {version()}: {plain_reason(err)}") from None
    return OpenVino(compiled_model, without_weights(model))


def signature_from_file(path: Path, config: Config) -> Signature:
    return signature_from_model(read_model(ov.Core(), path, settings_from_config(config), config))


def _key(core: Any, path: Path, settings: Settings, config: Config) -> str:
    processor = [str(core.get_property("CPU", name)) for name in PROCESSOR]
    dims = str([(t["name"], t["dims"]) for t in config.get("input", [])]) if settings.is_reshaped else ""
    properties = str(sorted(settings.properties.items()))
    return compiled_cache.key_from(path, str(ov.get_version()), *processor, dims, properties, settings.extension)


def _earlier(core: Any, folder: Path, key: str, settings: Settings) -> OpenVino | None:
    """As it was compiled before. None where it was not, or what is kept cannot be opened."""
    if (place := compiled_cache.entry(folder, key)) is None:
        return None
    try:
        add_extension(core, settings)
        shapes = core.read_model(place / SHAPES)
        # Mapped and not read: weights are used where they lie, and all processes with this model share that memory.
        mapped = np.memmap(place / BLOB, np.uint8, mode="c")  # OpenVINO takes no memory that it may not write
        blob = ov.Tensor(mapped, shared_memory=True)
        return OpenVino(core.import_model(blob, "CPU", dict(settings.properties)), shapes, mapped)
    except (RuntimeError, ValueError, OSError):
        compiled_cache.discard(place)  # not whole, or of another processor
        return None


def _keep(folder: Path, key: str, engine: OpenVino) -> None:
    def write(place: Path) -> None:
        (place / BLOB).write_bytes(engine.compiled.export_model().getvalue())
        ov.serialize(engine.shapes, place / SHAPES)

    try:
        compiled_cache.put(folder, key, write)
    except (OSError, RuntimeError):
        return  # the next start compiles again


KIND = EngineKind("openvino", "model.xml", signature_from_file, opened)
