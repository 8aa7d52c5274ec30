"""Images made of programs of the cache: no base image, the program and its libraries alone, always the same digest."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ai102.artifact import sha256_of_file, sha256_of_text, temporary_folder
from ai102.images.labels import labels_of
from ai102.images.layers import write_layer
from ai102.images.layout import Image, write_image, written_before
from ai102.images.repository import RepositoryFile
from k8s.local.plan import ROOT

PREFIX = "ai102-cluster"
FOLDER = ROOT / "build" / "images" / "cluster"
PROGRAM_MODE = 0o755
TAG_DIGITS = 12
# Nobody: a program that needs more says so in its manifest.
USER = "65534:65534"
NOTHING: Mapping[str, Path] = MappingProxyType({})


def image_of(program: Path, name: str = "", folder: Path = FOLDER, beside: Mapping[str, Path] = NOTHING) -> Image:
    """The image of a program, as an OCI layout in `folder`/NAME; it starts /bin/NAME. Written again when it differs.

    `beside` are programs and files that it needs, by their paths in the image.
    """
    name = name or program.name
    sources = {f"bin/{name}": program, **beside}
    libraries = {str(path).lstrip("/"): path for source in sources.values() for path in libraries_of(source)}
    files = [_file(path, source) for path, source in (*sources.items(), *sorted(libraries.items()))]
    content = sha256_of_text(repr([(file.path, file.sha256) for file in files]))
    labels = labels_of(name, content[:TAG_DIGITS], f"content-sha256:{content}", "")
    reference = f"{PREFIX}/{name}:{content[:TAG_DIGITS]}"
    target = folder / name
    if (image := written_before(target, reference)) is not None:
        return image
    with temporary_folder(folder) as temporary:
        blobs = temporary / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        parents = {str(parent) for file in files for parent in Path(file.path).parents} - {"."}
        layer = write_layer(blobs / ".layer", sorted(parents), files, PROGRAM_MODE)
        (blobs / ".layer").rename(blobs / layer.sha256)
        settings = {"Entrypoint": [f"/bin/{name}"], "Env": ["PATH=/bin"], "User": USER}
        image = write_image(temporary, reference, labels, [layer], settings)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    return Image(target, reference, image.digest, image.config_digest)


def libraries_of(program: Path) -> list[Path]:
    """The shared libraries that a program is linked with, and its loader; none for one that is linked statically."""
    done = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    if done.returncode:
        return []
    return sorted({Path(path) for path in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", done.stdout, re.M)})


def _file(path: str, source: Path) -> RepositoryFile:
    return RepositoryFile(path, source, source.stat().st_size, sha256_of_file(source))
