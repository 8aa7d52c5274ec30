"""Which backend serves a model, as the server finds it from the config and from the files of the first version."""

from __future__ import annotations

from typing import NamedTuple

from ai102.lint.model import Model
from ai102.lint.paths import exists, is_file

ENSEMBLE = "ensemble"
SAVED_MODEL, GRAPH_DEF = "model.savedmodel", "model.graphdef"
TENSORFLOW = {"tensorflow_savedmodel": SAVED_MODEL, "tensorflow_graphdef": GRAPH_DEF}
# The others in the order in which the server tries them, with their model files.
FILES = {
    "tensorrt": "model.plan",
    "onnxruntime": "model.onnx",
    "openvino": "model.xml",
    "pytorch": "model.pt",
    "python": "model.py",
}
PLATFORMS = {"tensorrt": "tensorrt_plan", "onnxruntime": "onnxruntime_onnx", "pytorch": "pytorch_libtorch"}
BACKENDS = {platform: backend for backend, platform in PLATFORMS.items()} | dict.fromkeys(TENSORFLOW, "tensorflow")
# A model of these may be a folder too.
MAY_BE_FOLDERS = ("onnxruntime", "openvino", "python")


class Served(NamedTuple):
    """Empty where neither the config nor a file says it."""

    platform: str
    backend: str
    file: str


def served(model: Model) -> Served:
    """By the server's rules for what a config leaves out; a model without a config leaves out everything."""
    config = model.config
    platform, backend, file = (
        (config.platform, config.backend, config.default_model_filename) if config is not None else ("", "", "")
    )
    if not platform and backend in ("", "tensorflow"):
        platform = _tensorflow_platform(model, file)
    if platform in TENSORFLOW:
        return Served(platform, backend or "tensorflow", file or TENSORFLOW[platform])
    for known, usual in FILES.items():
        if not backend and (
            platform == PLATFORMS.get(known, "-")
            or file == usual
            or (not platform and not file and _has(model, usual, may_be_folder=known in MAY_BE_FOLDERS))
        ):
            backend = known
        if backend == known:
            return Served(platform or PLATFORMS.get(known, ""), backend, file or usual)
    if not backend and not platform and not file and "." in model.name:
        backend = model.name.partition(".")[2]
        return Served("", backend, f"model.{backend}")
    return Served(platform, backend, file)


def is_ensemble(model: Model) -> bool:
    return model.config is not None and model.config.platform == ENSEMBLE


def _tensorflow_platform(model: Model, file: str) -> str:
    if file:
        return next((platform for platform, usual in TENSORFLOW.items() if file == usual), "")
    first = model.first_folder
    if first is not None and is_file(first / GRAPH_DEF):
        return "tensorflow_graphdef"
    return "tensorflow_savedmodel" if first is not None and (first / SAVED_MODEL).is_dir() else ""


def _has(model: Model, file: str, *, may_be_folder: bool) -> bool:
    path = model.first_folder / file if model.first_folder is not None else None
    return path is not None and (exists(path) if may_be_folder else is_file(path))
