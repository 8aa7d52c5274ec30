"""MR1xx: the folders and files of a model repository."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ai102.lint.backends import ENSEMBLE, FILES, Served, is_ensemble, served
from ai102.lint.finding import Code, Finding, Fix
from ai102.lint.model import CONFIG, Model, Repository, version_from_name
from ai102.lint.paths import exists, is_file
from ai102.lint.tree import Scalar

CODES: tuple[Code, ...] = (
    Code(
        "MR101",
        "error",
        "no backend to serve it with",
        "Triton takes the backend from `backend` or `platform`, or guesses it from a model file of the usual name in "
        "the first folder (model.onnx, model.plan, model.pt, model.py). With none of these it refuses the model.",
    ),
    Code(
        "MR102",
        "error",
        "no version to load",
        "A model is served from folders named 1, 2, 3 and so on, and the version policy picks among them. Triton "
        "refuses a model, an ensemble too, of which no version is left. Git keeps no empty folder: put a file such as "
        ".keep into one that has nothing else.",
    ),
    Code(
        "MR103",
        "error",
        "model file missing",
        "Every version that is loaded needs the file of its backend: model.onnx, model.plan, model.py and so on, or "
        "the one that default_model_filename names. Without it the load fails.",
    ),
    Code(
        "MR104",
        "warning",
        "folder that looks like a version and is none",
        "Triton reads only folders whose name is a whole number without leading zeros. v2 or 02 is passed over with "
        "a line in the log, so what was meant to be served is not.",
    ),
    Code(
        "MR105",
        "warning",
        "version that is named and not there",
        "version_policy.specific names a version without a folder. Triton logs an error, loads the others and calls "
        "the model ready; requests for that version fail.",
    ),
    Code(
        "MR106",
        "error",
        "name differs from the folder",
        "The folder's name is the model's name. Triton refuses a config whose `name` is another; leaving `name` out "
        "is always right.",
    ),
    Code(
        "MR107",
        "warning",
        "config under another name",
        "Triton reads config.pbtxt and nothing else. Without it the model is completed from its file, so every "
        "setting in a file such as config.pbtext is silently ignored.",
    ),
    Code(
        "MR108",
        "error",
        "platform that does not exist",
        "Triton knows the platforms tensorrt_plan, onnxruntime_onnx, pytorch_libtorch, tensorflow_savedmodel, "
        "tensorflow_graphdef and ensemble. Any other needs a `backend` beside it; for Python, vLLM, DALI and the "
        "like, write `backend` alone.",
    ),
    Code(
        "MR109",
        "error",
        "platform and backend that do not go together",
        "Where both are written they must name the same thing: tensorrt with tensorrt_plan, onnxruntime with "
        "onnxruntime_onnx, pytorch with pytorch_libtorch, and no backend at all with ensemble. One of them is enough.",
    ),
    Code(
        "MR110",
        "error",
        "folder misread as a version",
        "Triton takes the number that a folder's name begins with: 2_old or 1.5 is version 2 or 1 to it. It then "
        "looks for a folder named 2 or 1, finds none and hangs, with every model that is loaded after. A negative "
        "number does the same, and one above 9223372036854775807 ends the server. Begin the name with a letter, or "
        "move the folder out.",
    ),
)

VERSION_LIKE = re.compile(r"v?(?:er(?:sion)?)?[-_.]?\d+", re.IGNORECASE)
MOST_VERSION = 2**63 - 1
CONFIG_LIKE = re.compile(
    r"(?:model_?)?config\.(?:pbtxt|pbtext|pbtx|prototxt|txtpb|textproto|pb\.txt|txt|pbtxt\.txt)", re.I
)
KNOWN = {"tensorflow": ("tensorflow_savedmodel", "tensorflow_graphdef")} | {
    "tensorrt": ("tensorrt_plan",),
    "onnxruntime": ("onnxruntime_onnx",),
    "pytorch": ("pytorch_libtorch",),
}


def check(model: Model, repository: Repository) -> Iterator[Finding]:
    yield from _config(model)
    if model.has_config and model.config is None:
        return
    how = served(model)
    yield from _backend(model, how, repository)
    yield from _versions(model, repository)
    if repository.check_files:
        yield from _model_files(model, how)


def _config(model: Model) -> Iterator[Finding]:
    if not model.has_config:
        for path in sorted(model.folder.iterdir()):
            if is_file(path) and CONFIG_LIKE.fullmatch(path.name):
                message = f"{path.name} is not read: the server looks for {CONFIG}"
                yield model.finding("MR107", "", message, f"rename it to {CONFIG}")
    name = model.config.name if model.config is not None else ""
    if name and name != model.name:
        field = model.tree.find("name")
        assert field is not None
        assert isinstance(field.value, Scalar)
        fix = Fix(field.value.at.start, field.value.at.end, f'"{model.name}"')
        message = f"name is {name!r} and the folder is {model.name!r}"
        yield model.finding("MR106", field.value.at, message, f'write name: "{model.name}", or rename the folder', fix)


def _backend(model: Model, how: Served, repository: Repository) -> Iterator[Finding]:
    platform, backend, _ = how
    if is_ensemble(model):
        if backend:
            message = f"platform is ensemble and backend is {backend!r}"
            yield model.finding("MR109", "backend", message, "leave backend out: an ensemble has none")
    elif not backend and platform:
        advice = _platform_advice(platform)
        yield model.finding("MR108", "platform", f"there is no platform {platform!r}", advice)
    elif not backend and repository.check_files:
        message = "neither the config nor a model file says which backend serves it"
        yield model.finding("MR101", "", message, 'write backend: "python", platform: "onnxruntime_onnx" or so')
    elif backend in KNOWN and platform not in KNOWN[backend]:
        message = f"platform is {platform!r} and backend is {backend!r}"
        advice = f"leave platform out, or write {' or '.join(KNOWN[backend])}"
        yield model.finding("MR109", "platform", message, advice)


def _platform_advice(platform: str) -> str:
    if platform in FILES:
        return f'write backend: "{platform}" in its place'
    known = [platform for platforms in KNOWN.values() for platform in platforms]
    return f"write {', '.join(sorted(known))} or {ENSEMBLE}, or name the backend in `backend`"


def _versions(model: Model, repository: Repository) -> Iterator[Finding]:
    policy = model.config.version_policy if model.config is not None else None
    specific = list(policy.specific.versions) if policy is not None else []
    for folder in model.folders:
        if version_from_name(folder.name) is None and VERSION_LIKE.fullmatch(folder.name):
            number = folder.name.lstrip("verionVERION-_.0") or "1"
            yield model.finding("MR104", "", f"the folder {folder.name} is not read", f"rename it to {number}")
    yield from _misread(model)
    # The folder of a model that is built may be made with it.
    if not repository.check_files and not is_ensemble(model):
        return
    if not model.versions:
        yield model.finding("MR102", "", "there is no version folder", "put the model into a folder named 1")
    elif not model.loaded_versions:
        there = ", ".join(map(str, model.versions))
        message = f"the version policy leaves none of the versions {there}"
        yield model.finding("MR102", "version_policy", message, "name a version that is there, or leave the policy out")
    else:
        for place, version in enumerate(specific):
            if version not in model.versions:
                where = f"version_policy.specific.versions[{place}]"
                advice = f"make the folder {version}, or leave it out"
                yield model.finding("MR105", where, f"version {version} has no folder", advice)


def _misread(model: Model) -> Iterator[Finding]:
    names = {path.name for path in model.folders}
    advice = "begin its name with a letter, or move it out"
    for folder in model.folders:
        version = version_from_name(folder.name)
        if version is not None and abs(version) > MOST_VERSION:
            yield model.finding("MR110", "", f"the server ends on a folder with the number {folder.name}", advice)
            continue
        if is_ensemble(model):
            continue  # the server only counts its versions
        if version in model.loaded_versions and (version < 0 or str(version) not in names):
            message = f"the server takes the folder {folder.name} for version {version} and hangs"
            yield model.finding("MR110", "", message, advice)


def _model_files(model: Model, how: Served) -> Iterator[Finding]:
    if not how.file:
        return
    named = {how.file}
    where = "default_model_filename"
    if how.backend == "tensorrt" and model.config is not None and model.config.cc_model_filenames:
        named, where = set(model.config.cc_model_filenames.values()), "cc_model_filenames"
    for version in model.loaded_versions:
        for file in sorted(named) if (model.folder / str(version)).is_dir() else ():
            if not exists(model.file(version, file)):
                message = f"{version}/{file} is missing"
                yield model.finding("MR103", where, message, "build or copy it there")
