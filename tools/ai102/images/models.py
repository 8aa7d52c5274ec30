"""The models image: the model repository and nothing else, a layer a model; the same digest for the same files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from ai102.artifact import temporary_folder
from ai102.images.labels import labels_of
from ai102.images.layers import Blob, write_layer
from ai102.images.layout import Image, write_image, written_before
from ai102.images.repository import RepositoryFile, content_hash, folders_of, repository_files

NAME = "ai102/models"
FOLDER = Path("build/images/models")
# What a release of the models is called when nobody names it: the start of the hash of its content.
VERSION_DIGITS = 12


def write_models_image(
    repository: Path, folder: Path, *, version: str = "", revision: str = "", source: str = ""
) -> tuple[Image, bool]:
    """The image of `repository` as an OCI layout in `folder`, and whether it was written now.

    Version and revision, where not given, are the hash of the content: nothing in the image depends on when or where
    it was written. Raises UserError when the repository is missing or empty.
    """
    files = repository_files(repository)
    content = content_hash(files)
    labels = labels_of(
        "ai102 models", version or content[:VERSION_DIGITS], revision or f"content-sha256:{content}", source
    )
    reference = f"{NAME}:{version or content[:VERSION_DIGITS]}"
    if (image := _written_before(folder, reference, labels)) is not None:
        return image, False
    with temporary_folder(folder.parent) as temporary:
        blobs = temporary / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        layers = [_write_layer(blobs, repository, model, files) for model in sorted({file.model for file in files})]
        image = write_image(temporary, reference, labels, layers)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
        folder.chmod(0o755)
        return Image(folder, reference, image.digest, image.config_digest), True


def _written_before(folder: Path, reference: str, labels: Mapping[str, str]) -> Image | None:
    try:
        image = written_before(folder, reference)
        return image if image and image.config()["config"]["Labels"] == labels else None
    except OSError:
        return None


def _write_layer(blobs: Path, repository: Path, model: str, files: tuple[RepositoryFile, ...]) -> Blob:
    own = tuple(file for file in files if file.model == model)
    temporary = blobs / f".{model}"
    layer = write_layer(temporary, folders_of(repository, own), own)
    temporary.rename(blobs / layer.sha256)
    return layer
