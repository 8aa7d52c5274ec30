"""Give the models image on disk to Docker's engine, old or new."""

from __future__ import annotations

import io
import subprocess
import tarfile

from ai102.errors import UserError
from ai102.images.docker import Docker, complaint_of
from ai102.images.layout import Image, archive_manifest


def load_image(docker: Docker, image: Image) -> bool:
    """Load the image under its name, unless the engine has it; whether it was loaded now."""
    if docker.image_id(image.reference) in (image.config_digest, image.digest):
        return False
    loading = docker.popen("load", stdin=subprocess.PIPE)
    assert loading.stdin is not None
    try:
        with loading.stdin as stream, tarfile.open(fileobj=stream, mode="w|") as archive:
            for path in sorted(path for path in image.folder.rglob("*") if path.is_file()):
                archive.add(path, path.relative_to(image.folder), recursive=False)
            content = archive_manifest(image)
            member = tarfile.TarInfo("manifest.json")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    except BrokenPipeError:
        pass  # it says why below
    assert loading.stderr is not None
    stderr = loading.stderr.read().decode("utf-8", "replace")
    if loading.wait():
        raise UserError(f"docker does not load {image.reference}: {complaint_of(stderr)}")
    return True
