"""An image of Docker's engine as an OCI layout on disk, so that it can be pushed where the engine cannot."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

from ai102.artifact import sha256_of_file, temporary_folder
from ai102.errors import UserError
from ai102.images.docker import Docker, complaint_of
from ai102.images.layers import Blob
from ai102.images.layout import Image, write_layout, written_before


def saved_image(docker: Docker, reference: str, folder: Path) -> Image:
    """The layout of the image in `folder`, written again when the engine's image has changed.

    Raises UserError when the engine has no such image.
    """
    identity = docker.image_id(reference)
    if not identity:
        raise UserError(f"{reference}: Docker's engine has no such image: `make image` builds ours")
    if (image := written_before(folder, reference)) is not None and identity in (image.config_digest, image.digest):
        return image
    with temporary_folder(folder.parent) as temporary:
        _unpack(docker, reference, temporary / "saved")
        target = temporary / "layout"
        image = layout_from_archive(temporary / "saved", reference, target)
        shutil.rmtree(folder, ignore_errors=True)
        target.rename(folder)
    return Image(folder, reference, image.digest, image.config_digest)


def layout_from_archive(archive: Path, reference: str, folder: Path) -> Image:
    """A layout in the new folder `folder` from an unpacked archive of `docker save`, whose layers are moved there."""
    (row,) = json.loads((archive / "manifest.json").read_bytes())
    configuration = (archive / row["Config"]).read_bytes()
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layers = []
    for name, diff_id in zip(row["Layers"], json.loads(configuration)["rootfs"]["diff_ids"], strict=True):
        file = (archive / name).resolve()  # an older engine writes a layer once and links to it
        layer = Blob(diff_id.removeprefix("sha256:"), file.stat().st_size)
        if not (blobs / layer.sha256).exists():
            if (sha256 := sha256_of_file(file)) != layer.sha256:
                raise UserError(f"{reference}: the layer {name} has sha256 {sha256}, but its image says {layer.sha256}")
            (blobs / layer.sha256).hardlink_to(file)
        layers.append(layer)
    return write_layout(folder, reference, configuration, layers, {})


def _unpack(docker: Docker, reference: str, into: Path) -> None:
    into.mkdir()
    saving = docker.popen("save", reference)
    assert saving.stdout is not None
    assert saving.stderr is not None
    with saving.stdout as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        archive.extractall(into, filter="data")
    stderr = saving.stderr.read().decode("utf-8", "replace")
    if saving.wait(timeout=60):
        raise UserError(f"docker does not save {reference}: {complaint_of(stderr)}")
