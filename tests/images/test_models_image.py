"""The models image depends on the repository alone: not on the day, the user, the disk, or what a run left."""

import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.images.layout import Image, archive_manifest, read_image
from ai102.images.models import write_models_image


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return made_repository(tmp_path / "repository", ["digits", "text", "both"])


def made_repository(folder: Path, models: list[str]) -> Path:
    for model in models:
        (folder / model / "1").mkdir(parents=True)
        (folder / model / "config.pbtxt").write_text(f'name: "{model}"\n')
        if model != "both":  # an ensemble has an empty version folder
            (folder / model / "1" / "model.onnx").write_bytes(model.encode() * 1000)
    return folder


def written(repository: Path, folder: Path, **labels: str) -> Image:
    return write_models_image(repository, folder, **labels)[0]


def members(image: Image) -> list[tarfile.TarInfo]:
    rows = []
    for layer in image.manifest()["layers"]:
        with tarfile.open(image.blob(layer["digest"])) as archive:
            rows += archive.getmembers()
    return rows


def test_the_same_files_written_in_another_order_at_another_time_by_another_umask_give_the_same_digest(
    repository: Path, tmp_path: Path
) -> None:
    other = made_repository(tmp_path / "other", ["text", "both", "digits"])
    for path in other.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o700)
    assert written(other, tmp_path / "b").digest == written(repository, tmp_path / "a").digest


def test_what_runs_and_builds_leave_is_not_in_the_image(repository: Path, tmp_path: Path) -> None:
    before = written(repository, tmp_path / "a").digest
    for name in (
        "digits/1/__pycache__/model.pyc",
        "digits/1/model.onnx.made.json",
        "digits/.unfinished-1/x",
        "both/1/.keep",
    ):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text("left behind")
    (repository / "notes.txt").write_text("of no model")
    assert written(repository, tmp_path / "b").digest == before


def test_every_member_has_fixed_times_owners_and_modes(repository: Path, tmp_path: Path) -> None:
    facts = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members(written(repository, tmp_path / "a"))}
    assert facts == {(1, 0, 0, "", "", 0o755), (1, 0, 0, "", "", 0o644)}


def test_the_version_folder_of_an_ensemble_is_there_though_it_is_empty(repository: Path, tmp_path: Path) -> None:
    names = [member.name for member in members(written(repository, tmp_path / "a"))]
    assert names == [
        "both", "both/1", "both/config.pbtxt",
        "digits", "digits/1", "digits/1/model.onnx", "digits/config.pbtxt",
        "text", "text/1", "text/1/model.onnx", "text/config.pbtxt",
    ]  # fmt: skip


def test_a_change_of_one_model_changes_its_layer_alone(repository: Path, tmp_path: Path) -> None:
    before = [layer["digest"] for layer in written(repository, tmp_path / "a").manifest()["layers"]]
    (repository / "digits" / "1" / "model.onnx").write_bytes(b"another build")
    after = [layer["digest"] for layer in written(repository, tmp_path / "b").manifest()["layers"]]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]


def test_every_blob_bears_the_hash_of_its_content(repository: Path, tmp_path: Path) -> None:
    blobs = sorted((written(repository, tmp_path / "a").folder / "blobs" / "sha256").iterdir())
    assert [blob.name for blob in blobs] == [hashlib.sha256(blob.read_bytes()).hexdigest() for blob in blobs]


def test_the_labels_carry_version_revision_and_source(repository: Path, tmp_path: Path) -> None:
    image = written(repository, tmp_path / "a", version="1.4.0", revision="abc123", source="https://example.com/models")
    labels = image.config()["config"]["Labels"]
    names = ("version", "revision", "source", "title")
    assert [labels[f"org.opencontainers.image.{name}"] for name in names] == [
        "1.4.0", "abc123", "https://example.com/models", "ai102 models",
    ]  # fmt: skip
    assert image.reference == "ai102/models:1.4.0"


def test_without_a_version_the_image_is_called_by_its_content(repository: Path, tmp_path: Path) -> None:
    image = written(repository, tmp_path / "a")
    labels = image.config()["config"]["Labels"]
    content = labels["org.opencontainers.image.revision"].removeprefix("content-sha256:")
    assert (len(content), image.tag) == (64, content[:12])


def test_an_unchanged_repository_is_not_written_again(repository: Path, tmp_path: Path) -> None:
    first, is_new = write_models_image(repository, tmp_path / "a")
    second, is_new_again = write_models_image(repository, tmp_path / "a")
    assert (is_new, is_new_again, second) == (True, False, first)


def test_a_layout_cut_short_is_written_again(repository: Path, tmp_path: Path) -> None:
    image = written(repository, tmp_path / "a")
    (tmp_path / "a" / "index.json").write_text("{")
    assert written(repository, tmp_path / "a") == image == read_image(tmp_path / "a")


def test_an_older_docker_finds_configuration_and_layers_in_the_archive(repository: Path, tmp_path: Path) -> None:
    image = written(repository, tmp_path / "a")
    (row,) = json.loads(archive_manifest(image))
    assert row["RepoTags"] == [image.reference]
    assert all((image.folder / path).is_file() for path in [row["Config"], *row["Layers"]])


@pytest.mark.parametrize(
    ("folder", "message"),
    [("nowhere", "there is no model repository"), ("empty", "has no model with a config.pbtxt")],
)
def test_a_folder_without_models_is_one_line(tmp_path: Path, folder: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        write_models_image(tmp_path / folder, tmp_path / "a")


def test_a_folder_without_a_layout_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `ai102 image models`"):
        read_image(tmp_path)
