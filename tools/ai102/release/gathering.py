"""A release out of a workspace and two images: all facts in one document."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ai102.artifact import sha256_of_text
from ai102.build.workspace import Workspace
from ai102.contract.contract import contract_from_text
from ai102.contract.goals import goals_of
from ai102.errors import UserError
from ai102.images.labels import revision_of
from ai102.images.repository import content_hash, repository_files
from ai102.release import references
from ai102.release.document import FORMAT, Contract, Document, Goals, Images, Provenance, Release, release_from
from ai102.release.measured import measured_of
from ai102.release.served import models_of

UNKNOWN = "unknown"
DIRTY = "-dirty"
# The packages that the server image has, by what they are called in a release.
PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "nvidia-pytriton": "nvidia-pytriton"}
GPU_PACKAGES = Path("docker/requirements/server.gpu.txt")
LAYOUT = Path("build/images/models")


@dataclass(frozen=True)
class Gathered:
    """`is_checked`: the models image at hand has this digest, and was written from this very model repository."""

    release: Release
    is_checked: bool


def gathered(contract_file: Path, images: Images) -> Gathered:
    """The release of what the workspace of that contract serves, with these images.

    Raises UserError when it is not built, not as the contract says, or the models image has other models.
    """
    try:
        text = contract_file.read_text(encoding="utf-8")
    except FileNotFoundError as err:
        raise UserError(
            f"{contract_file}: no such file; run this in the folder that holds {contract_file.name}"
        ) from err
    except UnicodeDecodeError as err:
        raise UserError(f"{contract_file}: not valid TOML: {err}") from err
    contract = contract_from_text(text, contract_file)
    workspace = Workspace.around(contract_file, contract)
    measured = measured_of(workspace)
    content = content_hash(repository_files(workspace.repository))
    document = Document(
        format=FORMAT,
        images=images,
        content_sha256=content,
        models=models_of(workspace.repository, contract.server.triton),
        measured=measured,
        pipelines={name: Goals(**goals.model_dump()) for name, goals in goals_of(contract).items()},
        contract=Contract(text=text, sha256=sha256_of_text(text)),
        provenance=_provenance(workspace.home.absolute(), images, contract.server.triton),
    )
    return Gathered(release_from(document), _has_content(workspace.root / LAYOUT, images.models, content))


def _has_content(layout: Path, reference: str, content: str) -> bool:
    in_image = references.content_of(layout, reference.partition("@")[2])
    if in_image not in (None, content):
        raise UserError(
            f"{references.short(reference)} was written from another state of the model repository: "
            "run `ai102 image push`, and name the digest that it prints"
        )
    return in_image == content


def _provenance(root: Path, images: Images, triton: str) -> Provenance:
    commit = revision_of(root)
    is_clean = None if commit == UNKNOWN else not commit.endswith(DIRTY)
    versions = {"ai102": _installed("ai102"), "tritonserver": triton}
    is_gpu = images.server.partition("@")[0].endswith("-gpu")
    versions |= _pinned(root / GPU_PACKAGES) if is_gpu else {name: _installed(it) for name, it in PACKAGES.items()}
    return Provenance(revision=commit.removesuffix(DIRTY), is_clean=is_clean, versions=versions)


def _installed(package: str) -> str:
    """What the images are built with: constraints.txt pins the same versions for both."""
    try:
        return version(package)
    except PackageNotFoundError:
        return UNKNOWN


def _pinned(file: Path) -> dict[str, str]:
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return dict(re.findall(r"^(onnxruntime|openvino)==(\S+)$", text, re.MULTILINE)) or {"onnxruntime": UNKNOWN}
