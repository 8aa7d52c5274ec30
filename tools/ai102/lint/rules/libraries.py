"""What a config has the server load from elsewhere: a backend's library, operators, repository agents."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ai102.lint.backends import FILES, is_ensemble, served
from ai102.lint.finding import Code, Finding
from ai102.lint.model import Model, Repository
from ai102.lint.paths import is_file

CODES: tuple[Code, ...] = (
    Code(
        "MR111",
        "error",
        "runtime that the backend does not have",
        "`runtime` names the library of the backend, libtriton_<backend>.so, or another one that lies in the model's "
        "folder or in its version's. model.py is the runtime of Python-based backends. Triton refuses a runtime that "
        "it finds in none of these places, and one that leads out of them. Leave it out for the backend's own.",
    ),
    Code(
        "MR809",
        "error",
        "repository agents without an agent",
        "model_repository_agents lists agents by name; each is a library libtritonrepoagent_<name>.so of the server. "
        "Triton refuses an agent without a name, and 2.51 ends on a list without one.",
    ),
    Code(
        "MR810",
        "error",
        "library of operators missing",
        "op_library_filename names a library with custom operators of ONNX Runtime. The backend refuses the model "
        "where it cannot be loaded. It is looked for on this machine: with --no-files it is not.",
    ),
)

# Backends that also run as Python code of the server.
MAY_BE_PYTHON = ("onnxruntime", "openvino", "pytorch")


def check(model: Model, repository: Repository) -> Iterator[Finding]:
    config = model.config
    if config is None:
        return
    if config.runtime and not is_ensemble(model):
        yield from _runtime(model, config.runtime, repository)
    if config.HasField("model_repository_agents"):
        yield from _agents(model, [agent.name for agent in config.model_repository_agents.agents])
    if repository.check_files and served(model).backend == "onnxruntime":
        for place, name in enumerate(config.model_operations.op_library_filename):
            if name and not _is_found(name):
                where = f"model_operations.op_library_filename[{place}]"
                message = f"the library {name} is not on this machine"
                yield model.finding("MR810", where, message, "write its whole path, or put it there")


def _runtime(model: Model, runtime: str, repository: Repository) -> Iterator[Finding]:
    backend = served(model).backend
    usual = f"libtriton_{backend}.so"
    if ".." in Path(runtime).parts:
        message = f"runtime {runtime!r} leads out of the model's folder"
        yield model.finding("MR111", "runtime", message, f"write {usual}, or leave runtime out")
    # What other backends can run, only they know.
    elif backend in FILES and runtime != usual and not _has_library(model, runtime, backend, repository):
        message = f"the backend {backend} has no runtime {runtime!r}"
        yield model.finding("MR111", "runtime", message, f"write {usual}, or leave runtime out")


def _has_library(model: Model, runtime: str, backend: str, repository: Repository) -> bool:
    if runtime == "model.py":
        return backend in MAY_BE_PYTHON
    folders = (model.folder, *(model.folder / str(version) for version in model.loaded_versions))
    return not repository.check_files or any(is_file(folder / runtime) for folder in folders)


def _agents(model: Model, names: list[str]) -> Iterator[Finding]:
    if not names:
        message = "model_repository_agents has no agent, which ends the server"
        yield model.finding("MR809", "model_repository_agents", message, "name an agent, or take it out")
    for place, name in enumerate(names):
        if not name:
            where = f"model_repository_agents.agents[{place}]"
            yield model.finding("MR809", where, "an agent has no name", 'write name: "checksum" or so')


def _is_found(library: str) -> bool:
    """Where the loader of the system looks: a path as it is, a bare name in the folders that it knows."""
    if "/" in library:
        return is_file(Path(library))
    folders = ["/lib", "/usr/lib", "/usr/local/lib", "/opt/tritonserver/lib"]
    folders += [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if folder]
    return any(is_file(Path(folder) / library) for folder in folders)
