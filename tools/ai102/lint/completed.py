"""The models of a repository with their configs as the Python code of each completes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tritonclient.grpc import model_config_pb2 as pb

from ai102.lint.backends import served
from ai102.lint.completion import completion
from ai102.lint.model import Model, Repository
from ai102.lint.paths import is_file

Variants = Mapping[str, tuple[Model, ...]]


def complete(repository: Repository) -> tuple[Repository, Variants]:
    """The repository with each model as its newest version completes it, and by name all variants of each.

    A variant is the config as it is written, which the server checks first, or as the code of one version completes it.
    """
    variants = {name: _variants(model) for name, model in repository.models.items()}
    return replace(repository, models={name: models[-1] for name, models in variants.items()}), variants


def _variants(model: Model) -> tuple[Model, ...]:
    _, backend, file = served(model)
    if backend != "python" or (model.has_config and model.config is None):
        return (model,)
    variants = [_completed_model(model, version, file) for version in model.loaded_versions]
    if all(variant is model for variant in variants):
        return (model,)
    return (*((replace(model, is_first_look=True),) if model.config is not None else ()), *variants)


def _completed_model(model: Model, version: int, file: str) -> Model:
    code = model.file(version, file)
    if not is_file(code):
        return replace(model, is_decided=False)
    written = model.config if model.config is not None else pb.ModelConfig()
    result = completion(code, written, model.name)
    if result.config is written and result.problem is None:
        return model
    path = f"{model.folder.name}/{version}/{file}"
    return replace(
        model,
        config=result.config if result.config is not None else model.config,
        code_path=path,
        lines_in_code=result.lines,
        code_problem=result.problem,
        is_decided=result.config is not None,
    )
