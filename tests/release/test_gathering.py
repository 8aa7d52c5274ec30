"""A release of a repository that was really built: what it holds, and what of a broken one is refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.images.models import write_models_image
from ai102.release.document import Images, Model, Tensor
from ai102.release.envelope import Built, envelope_from_file
from ai102.release.gathering import Gathered, gathered
from ai102.release.history import History
from ai102.release.store import Store
from tests.build.test_killed import build, weights
from tests.build.test_killed import folder as built_folder

__all__ = ["built_folder"]

pytestmark = pytest.mark.slow
SERVER = "reg.example/ai102/server@sha256:" + "a" * 64


def images(digest: str = "sha256:" + "b" * 64, server: str = SERVER) -> Images:
    return Images(server=server, models=f"reg.example/ai102/models@{digest}")


@pytest.fixture
def folder(built_folder: Path) -> Path:
    weights(built_folder / "net.onnx", 0)
    build(built_folder)
    return built_folder


def gather(folder: Path, chosen: Images | None = None) -> Gathered:
    return gathered(folder / "models.toml", chosen or images())


def break_it(folder: Path, file: str, change: Callable[[str], str]) -> None:
    path = folder / "model_repository" / file
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def test_a_release_holds_what_callers_get_and_what_was_measured(folder: Path) -> None:
    document = gather(folder).release.document
    assert sorted(document.models) == ["net_fp32", "net_int8", "steps", "whole"]
    tensors = {"x": Tensor(data_type="FP32", dims=(8,))}, {"y": Tensor(data_type="FP32", dims=(4,))}
    for model in document.models.values():
        assert isinstance(model, Model)
        assert (model.inputs, model.outputs, model.batching.max_batch_size) == (*tensors, 4)
    assert document.models["net_int8"].versions == (1,)
    measured = document.measured["net_int8"]
    assert (measured.network, measured.version, measured.precision) == ("net", 1, "int8")
    assert measured.budget["min_mean_cosine"].limit == 0.9
    assert measured.budget["min_mean_cosine"].measured == measured.figures["mean_cosine"] > 0.9
    assert measured.engine is not None
    assert measured.engine.ms
    assert sorted(document.pipelines) == ["steps", "whole"]
    assert document.contract.text == (folder / "models.toml").read_text(encoding="utf-8")
    assert (document.provenance.revision, document.provenance.is_clean) == ("unknown", None)
    assert set(document.provenance.versions) == {"ai102", "tritonserver", "nvidia-pytriton", "onnxruntime", "openvino"}


def test_two_builds_from_the_same_inputs_are_the_same_release(folder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store", History(tmp_path / "store" / "history.db"), {})
    built = [Built(at=at, by=by, note=at, is_checked=False) for at, by in (("1", "ann"), ("2", "bob"))]
    written = [store.add(gather(folder).release, each, None) for each in built]
    assert [is_new for _, is_new in written] == [True, False]
    (file,) = (tmp_path / "store").glob("r-*.json")
    assert envelope_from_file(file).built == built[0]
    weights(folder / "net.onnx", 1)
    build(folder)
    again = gather(folder).release
    assert again.name != file.stem
    assert again.document.models["net_int8"].versions == (1, 2)
    assert again.document.measured["net_int8"].version == 2


def test_the_models_image_at_hand_must_be_of_these_models(folder: Path) -> None:
    layout = folder / "build" / "images" / "models"
    image, _ = write_models_image(folder / "model_repository", layout)
    assert gather(folder, images(image.digest)).is_checked
    assert not gather(folder).is_checked
    weights(folder / "net.onnx", 1)
    build(folder)
    with pytest.raises(UserError, match=r"models@[0-9a-f]{12} was written from another state of the model repository"):
        gather(folder, images(image.digest))


def test_a_server_for_gpus_has_the_versions_of_its_own_requirements(folder: Path) -> None:
    (folder / "docker" / "requirements").mkdir(parents=True)
    (folder / "docker" / "requirements" / "server.gpu.txt").write_text("cffi==2.1.1\nonnxruntime==1.23.2\n")
    versions = gather(
        folder, images(server=SERVER.replace("server@", "server-gpu@"))
    ).release.document.provenance.versions
    assert (versions["onnxruntime"], "openvino" in versions) == ("1.23.2", False)


def test_what_is_broken_is_one_line(folder: Path) -> None:
    manifest, repository = "net_int8/1/model.onnx.made.json", folder / "model_repository"
    whole = (repository / manifest).read_text(encoding="utf-8")
    facts = json.loads(whole)
    without_tried = {**facts, "facts": {**facts["facts"], "engine": {"engine": "openvino", "precision": "int8"}}}
    for text, message in (
        ("{", "not as a build writes it"),
        ("[]", "not as a build writes it"),
        ("{}", "not as a build writes it .no 'facts'."),
        (json.dumps({**facts, "facts": []}), "its facts are no table"),
        (json.dumps(without_tried), "not as a build writes it .no 'tried'."),
        (json.dumps({**facts, "sha256": "0" * 64}), "somebody has changed it since it was built and judged"),
    ):
        (repository / manifest).write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=message):
            gather(folder)
    (repository / manifest).unlink()
    with pytest.raises(UserError, match="no such file, so nothing is known of the model: run `make engine`"):
        gather(folder)
    (repository / manifest).write_text(whole, encoding="utf-8")
    break_it(folder, "net_fp32/config.pbtxt", lambda text: text.replace("TYPE_FP32", "TYPE_FP16"))
    with pytest.raises(UserError, match=r"net_fp32: its files are not those of models\.toml"):
        gather(folder)
    shutil.copytree(repository / "net_int8", repository / "odd")
    (repository / "odd" / "config.pbtxt").write_text('backend: "python"\n')
    break_it(folder, "net_fp32/config.pbtxt", lambda text: text.replace("TYPE_FP16", "TYPE_FP32"))
    with pytest.raises(UserError, match=r"odd/config\.pbtxt: names no input: a release says what callers get"):
        gather(folder)
    shutil.rmtree(repository / "odd")
    (folder / "models.toml").write_text((folder / "models.toml").read_text().replace("0.9 }", "0.99 }"))
    with pytest.raises(UserError, match=r"net_int8 was judged before its table in models\.toml was changed"):
        gather(folder)
    shutil.rmtree(repository / "net_int8" / "1")
    with pytest.raises(UserError, match="net_int8 is not built yet: run `ai102 engine net`"):
        gather(folder)
