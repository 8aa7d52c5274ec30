"""What `docker save` writes becomes an OCI layout with the engine's own configuration, of old and new engines."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.images.layout import read_image
from ai102.images.saved import layout_from_archive

REFERENCE = "ai102/server:1"


def layer(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("file")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


LAYERS = [layer(b"one"), layer(b"two")]
DIFF_IDS = [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in LAYERS]
CONFIG = json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [*DIFF_IDS, DIFF_IDS[0]]}}).encode()


def older_archive(folder: Path) -> Path:
    """Of an engine before 25: a folder a layer, and a link where one comes twice."""
    for name, content in zip(("a", "b"), LAYERS, strict=True):
        (folder / name).mkdir(parents=True)
        (folder / name / "layer.tar").write_bytes(content)
    (folder / "c").mkdir()
    (folder / "c" / "layer.tar").symlink_to("../a/layer.tar")
    (folder / "config.json").write_bytes(CONFIG)
    row = {"Config": "config.json", "RepoTags": [REFERENCE], "Layers": [f"{name}/layer.tar" for name in "abc"]}
    (folder / "manifest.json").write_text(json.dumps([row]))
    return folder


def newer_archive(folder: Path) -> Path:
    """Of an engine from 25 on: an OCI layout of its own, with manifest.json beside it."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for content in (*LAYERS, CONFIG):
        (blobs / hashlib.sha256(content).hexdigest()).write_bytes(content)
    names = [f"blobs/sha256/{identity.removeprefix('sha256:')}" for identity in (*DIFF_IDS, DIFF_IDS[0])]
    row = {"Config": f"blobs/sha256/{hashlib.sha256(CONFIG).hexdigest()}", "RepoTags": [REFERENCE], "Layers": names}
    (folder / "manifest.json").write_text(json.dumps([row]))
    return folder


@pytest.mark.parametrize("write", [older_archive, newer_archive], ids=lambda write: write.__name__)
def test_the_layout_has_the_layers_and_the_configuration_of_the_engine(write, tmp_path: Path) -> None:
    image = layout_from_archive(write(tmp_path / "saved"), REFERENCE, tmp_path / "layout")
    assert image.config_digest == f"sha256:{hashlib.sha256(CONFIG).hexdigest()}"
    assert [each["digest"] for each in image.manifest()["layers"]] == [*DIFF_IDS, DIFF_IDS[0]]
    assert [image.blob(identity).read_bytes() for identity in DIFF_IDS] == LAYERS
    assert read_image(tmp_path / "layout") == image


def test_both_arrangements_give_the_same_image(tmp_path: Path) -> None:
    images = [
        layout_from_archive(write(tmp_path / write.__name__), REFERENCE, tmp_path / f"{write.__name__}-layout")
        for write in (older_archive, newer_archive)
    ]
    assert images[0].digest == images[1].digest


def test_a_layer_that_is_not_what_its_image_says_is_refused(tmp_path: Path) -> None:
    saved = older_archive(tmp_path / "saved")
    (saved / "b" / "layer.tar").write_bytes(b"another")
    with pytest.raises(UserError, match=r"the layer b/layer\.tar has sha256"):
        layout_from_archive(saved, REFERENCE, tmp_path / "layout")
