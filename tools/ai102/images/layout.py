"""An image as an OCI layout on disk: blobs by their hash, configuration, manifest and index.

https://github.com/opencontainers/image-spec: image-layout.md, config.md, manifest.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ai102.errors import UserError
from ai102.images.layers import MEDIA_TYPE, Blob

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"
# containerd, and Docker on containerd, name what they load by it.
CONTAINERD_NAME = "io.containerd.image.name"
EPOCH = "1970-01-01T00:00:01Z"


@dataclass(frozen=True)
class Image:
    """A layout: its folder, its name with tag, and the digests of manifest and configuration.

    A registry names an image by the digest of its manifest, Docker by that of its configuration (unless it stores
    images in containerd).
    """

    folder: Path
    reference: str
    digest: str
    config_digest: str

    @property
    def tag(self) -> str:
        return self.reference.rpartition(":")[2]

    def blob(self, digest: str) -> Path:
        return self.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads(self.blob(self.digest).read_bytes())
        return manifest

    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads(self.blob(self.config_digest).read_bytes())
        return config


def config_of(labels: Mapping[str, str], layers: Sequence[Blob], settings: Mapping[str, object]) -> bytes:
    """The configuration of an image: without `settings` it only holds files, with no command, user or environment.

    `settings` are keys of the specification's `config`, such as Entrypoint.
    """
    config: dict[str, object] = {**settings, "Labels": dict(sorted(labels.items()))}
    return _canonical(
        {
            "architecture": "amd64",
            "config": config,
            "created": EPOCH,
            "history": [{"created": EPOCH, "created_by": "ai102 image models"} for _ in layers],
            "os": "linux",
            "rootfs": {"diff_ids": [layer.digest for layer in layers], "type": "layers"},
        }
    )


def write_image(
    folder: Path,
    reference: str,
    labels: Mapping[str, str],
    layers: Sequence[Blob],
    settings: Mapping[str, object] | None = None,
) -> Image:
    """Complete a layout in whose blobs the layers lie already."""
    return write_layout(folder, reference, config_of(labels, layers, settings or {}), layers, labels)


def write_layout(
    folder: Path, reference: str, configuration: bytes, layers: Sequence[Blob], annotations: Mapping[str, str]
) -> Image:
    """The same for a configuration that exists, as it is."""
    config = _write_blob(folder, configuration)
    manifest = _write_blob(
        folder,
        _canonical(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": _descriptor(CONFIG_TYPE, config),
                "layers": [_descriptor(MEDIA_TYPE, layer) for layer in layers],
                "annotations": dict(sorted(annotations.items())),
            }
        ),
    )
    (folder / "oci-layout").write_bytes(_canonical({"imageLayoutVersion": "1.0.0"}))
    image = Image(folder, reference, manifest.digest, config.digest)
    name = {REF_NAME: image.tag, CONTAINERD_NAME: f"docker.io/{reference}"}
    entry = {**_descriptor(MANIFEST_TYPE, manifest), "annotations": name}
    (folder / "index.json").write_bytes(_canonical({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]}))
    return image


def read_image(folder: Path) -> Image:
    """The one image of a layout that `write_image` wrote. Raises UserError when there is none."""
    try:
        entry = json.loads((folder / "index.json").read_bytes())["manifests"][0]
        name = entry["annotations"][CONTAINERD_NAME].removeprefix("docker.io/")
        manifest = json.loads((folder / "blobs" / "sha256" / entry["digest"].removeprefix("sha256:")).read_bytes())
        return Image(folder, name, entry["digest"], manifest["config"]["digest"])
    except (OSError, ValueError, KeyError, IndexError) as err:
        raise UserError(f"{folder}: holds no image of ours ({err}): run `ai102 image models`") from err


def written_before(folder: Path, reference: str) -> Image | None:
    """The image in `folder` if it is there, whole, and has this name."""
    try:
        image = read_image(folder)
    except UserError:
        return None
    return image if image.reference == reference else None


def archive_manifest(image: Image) -> bytes:
    """What `docker load` of a Docker without OCI layouts (before 25) reads: manifest.json of a docker-archive."""
    place = "blobs/sha256/"
    row = {
        "Config": place + image.config_digest.removeprefix("sha256:"),
        "RepoTags": [image.reference],
        "Layers": [place + layer["digest"].removeprefix("sha256:") for layer in image.manifest()["layers"]],
    }
    return _canonical([row])


def _descriptor(media_type: str, blob: Blob) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def _write_blob(folder: Path, content: bytes) -> Blob:
    blob = Blob(sha256(content).hexdigest(), len(content))
    (folder / "blobs" / "sha256" / blob.sha256).write_bytes(content)
    return blob


def _canonical(value: object) -> bytes:
    """One text for one value: keys in the order given, no blanks."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
