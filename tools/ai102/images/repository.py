"""What of a model repository goes into its image: the files that Triton reads, in one order, and their hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ai102.artifact import sha256_of_file
from ai102.errors import UserError

# Of a folder or a file: what a run or a build leaves, and nothing that Triton reads.
LEFT_OUT_NAMES = ("__pycache__", ".keep")
LEFT_OUT_ENDINGS = (".made.json", ".pyc")


@dataclass(frozen=True)
class RepositoryFile:
    """One file: its path inside the repository, where it lies, its size and its hash."""

    path: str
    source: Path
    size: int
    sha256: str

    @property
    def model(self) -> str:
        """The model that it belongs to."""
        return self.path.partition("/")[0]


def repository_files(repository: Path) -> tuple[RepositoryFile, ...]:
    """Every file of every model, sorted by its path; links are followed.

    Raises UserError when the folder is missing, has no model, or a model has not been built.
    """
    if not repository.is_dir():
        raise UserError(f"there is no model repository {repository}: run `make engine`, or name another folder")
    files = tuple(
        RepositoryFile(path, repository / path, (repository / path).stat().st_size, sha256_of_file(repository / path))
        for path in sorted(_paths(repository))
    )
    models = {file.model for file in files if file.path == f"{file.model}/config.pbtxt"}
    if not models:
        raise UserError(f"{repository}: has no model with a config.pbtxt: run `make engine`, or name another folder")
    return tuple(file for file in files if file.model in models)


def content_hash(files: tuple[RepositoryFile, ...]) -> str:
    """SHA-256 over paths and contents: the same for the same repository on every machine."""
    lines = "".join(f"{file.sha256}  {file.path}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def folders_of(repository: Path, files: tuple[RepositoryFile, ...]) -> list[str]:
    """Every folder of these files, sorted, and the version folders, which an ensemble has without a file in them."""
    folders = {str(parent) for file in files for parent in Path(file.path).parents if str(parent) != "."}
    for model in {file.model for file in files}:
        folders |= {f"{model}/{folder.name}" for folder in (repository / model).iterdir() if _is_version(folder)}
    return sorted(folders)


def _is_version(folder: Path) -> bool:
    return folder.name.isdigit() and folder.is_dir()


def _paths(repository: Path) -> list[str]:
    return [
        str(path.relative_to(repository))
        for path in repository.rglob("*")
        if path.is_file() and not _is_left_out(path.relative_to(repository))
    ]


def _is_left_out(path: Path) -> bool:
    is_hidden = any(part.startswith(".") or part in LEFT_OUT_NAMES for part in path.parts)
    return is_hidden or path.name.endswith(LEFT_OUT_ENDINGS)
