"""What callers get of a model repository: the models that Triton will load, their tensors, labels and versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from ai102.errors import UserError
from ai102.lint.backends import served as served_by
from ai102.lint.model import Model as Folder
from ai102.lint.model import repository_from_folder
from ai102.release.document import Batching, Model, Tensor
from ai102_runtime.data_types import DATA_TYPES

LABELS = "labels.txt"
TYPES = {kind.config_name: kind.name for kind in DATA_TYPES}


def models_of(repository: Path, triton: str) -> dict[str, Model]:
    """By name. Raises UserError for a config.pbtxt that cannot be read or does not say what callers get."""
    if not repository.is_dir():
        raise UserError(f"there is no model repository {repository}: run `make engine`")
    folders = repository_from_folder(repository, triton, {}).models
    return {name: _model(folder) for name, folder in folders.items()}


def _model(folder: Folder) -> Model:
    config, file = folder.config, folder.folder / "config.pbtxt"
    if config is None:
        problem = folder.problems[0].message if folder.problems else "there is none"
        raise UserError(f"{file}: {problem}: run `ai102 configure`, and `ai102 lint` for the details")
    if not config.input or not config.output:
        raise UserError(f"{file}: names no {'output' if config.input else 'input'}: a release says what callers get")
    if not folder.loaded_versions:
        raise UserError(f"{folder.folder}: has no version that Triton would load: run `make engine`")
    batching = config.dynamic_batching
    is_of_output = any(each.label_filename == LABELS for each in config.output)
    return Model(
        backend=served_by(folder).backend or config.platform,
        versions=folder.loaded_versions,
        batching=Batching(
            max_batch_size=config.max_batch_size,
            is_dynamic=config.HasField("dynamic_batching"),
            max_queue_delay_us=batching.max_queue_delay_microseconds,
            preferred_batch_sizes=tuple(batching.preferred_batch_size),
        ),
        inputs={each.name: _tensor(each, folder, is_optional=each.optional) for each in config.input},
        outputs={each.name: _tensor(each, folder) for each in config.output},
        labels=() if is_of_output else _labels(folder.folder / LABELS),
        is_decoupled=config.model_transaction_policy.decoupled,
        is_stateful=config.HasField("sequence_batching"),
    )


def _tensor(tensor: Any, folder: Folder, *, is_optional: bool = False) -> Tensor:
    kind = pb.DataType.Name(tensor.data_type)
    is_input = isinstance(tensor, pb.ModelInput)
    image = pb.ModelInput.Format.Name(tensor.format) if is_input and tensor.format else ""
    label_file = "" if is_input else tensor.label_filename
    return Tensor(
        data_type=TYPES.get(kind, kind),
        dims=tuple(tensor.dims),
        format=image.removeprefix("FORMAT_"),
        is_optional=is_optional,
        labels=_labels(folder.inside(label_file)) if label_file else (),
    )


def _labels(file: Path) -> tuple[str, ...]:
    return tuple(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else ()
