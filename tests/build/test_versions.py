import json
from pathlib import Path

import pytest

from ai102 import artifact
from ai102.build.versions import Builds, incoming
from ai102.errors import UserError

MODELS = ("net_fp32", "net_int8")


def shelf(root: Path) -> Builds:
    return Builds("net", MODELS, root / "model_repository", root / "build" / "net" / "withdrawn")


def build(builds: Builds, **contents: str) -> None:
    """What `ai102 engine` does: each model from what it is made from, all under one number."""
    number = builds.next_number()
    for model, content in contents.items():
        folder = builds.folder_for(model, "model.onnx", content, number)
        if folder is None:
            continue
        with incoming(folder) as place:
            artifact.make(
                place / "model.onnx", {"onnx": content}, lambda file, text=content: file.write_text(text) and None
            )


def versions(builds: Builds) -> dict[str, list[int]]:
    return {model: list(builds.installed(model)) for model in MODELS}


@pytest.fixture
def builds(tmp_path: Path) -> Builds:
    return shelf(tmp_path)


def test_a_new_build_is_the_next_version_and_the_old_one_stays(builds: Builds) -> None:
    build(builds, net_fp32="a", net_int8="b")
    build(builds, net_fp32="a2", net_int8="b2")
    assert versions(builds) == {"net_fp32": [1, 2], "net_int8": [1, 2]}
    assert (builds.newest("net_int8") / "model.onnx").read_text() == "b2"


def test_what_did_not_change_gets_no_new_version(builds: Builds) -> None:
    build(builds, net_fp32="a", net_int8="b")
    build(builds, net_fp32="a", net_int8="b")
    build(builds, net_fp32="a", net_int8="b2")
    assert versions(builds) == {"net_fp32": [1], "net_int8": [1, 2]}


def test_a_number_belongs_to_one_build_whichever_models_it_changed(builds: Builds) -> None:
    build(builds, net_fp32="a", net_int8="b")
    build(builds, net_fp32="a", net_int8="b2")
    build(builds, net_fp32="a3", net_int8="b2")
    assert versions(builds) == {"net_fp32": [1, 3], "net_int8": [1, 2]}


def test_a_rollback_takes_all_that_the_newest_build_changed_and_nothing_else(builds: Builds) -> None:
    build(builds, net_fp32="a", net_int8="b")
    build(builds, net_fp32="a", net_int8="b2")
    assert [folder.parent.name for folder in builds.roll_back()] == ["net_int8"]
    assert versions(builds) == {"net_fp32": [1], "net_int8": [1]}
    assert (builds.newest("net_int8") / "model.onnx").read_text() == "b"


def test_a_build_that_was_rolled_back_is_not_installed_again_until_that_is_undone(builds: Builds) -> None:
    build(builds, net_fp32="a", net_int8="b")
    build(builds, net_fp32="a2", net_int8="b2")
    builds.roll_back()
    build(builds, net_fp32="a2", net_int8="b2")
    assert versions(builds) == {"net_fp32": [1], "net_int8": [1]}
    assert [folder.name for folder in builds.undo()] == ["2", "2"]
    assert versions(builds) == {"net_fp32": [1, 2], "net_int8": [1, 2]}


def test_the_build_after_a_rollback_does_not_reuse_its_number(builds: Builds) -> None:
    build(builds, net_fp32="a", net_int8="b")
    build(builds, net_fp32="a2", net_int8="b2")
    builds.roll_back()
    build(builds, net_fp32="a3", net_int8="b3")
    assert versions(builds) == {"net_fp32": [1, 3], "net_int8": [1, 3]}


def test_the_only_build_cannot_be_rolled_back(builds: Builds) -> None:
    with pytest.raises(UserError, match="net was never built: run `ai102 engine net`"):
        builds.roll_back()
    build(builds, net_fp32="a", net_int8="b")
    build(builds, net_fp32="a2", net_int8="b2")
    builds.roll_back()
    with pytest.raises(UserError, match="net_fp32 has no build but version 1: there is nothing to roll back to"):
        builds.roll_back()
    assert versions(builds) == {"net_fp32": [1], "net_int8": [1]}


def test_undoing_what_was_never_rolled_back_is_one_line(builds: Builds) -> None:
    build(builds, net_fp32="a")
    with pytest.raises(UserError, match="no build of net was rolled back: there is nothing to undo"):
        builds.undo()


def test_pruning_keeps_the_newest(builds: Builds) -> None:
    for number in range(1, 5):
        build(builds, net_fp32=f"a{number}", net_int8="b")
    assert [folder.name for folder in builds.prune(2)] == ["1", "2"]
    assert versions(builds) == {"net_fp32": [3, 4], "net_int8": [1]}


def computes(builds: Builds, number: int, fp32: int) -> None:
    """INT8 of that number names a version of FP32 for a kind of CPU that nobody judged."""
    place = builds.repository / "net_int8" / str(number)
    choice = {"engine": "onnxruntime", "file": f"../../net_fp32/{fp32}/model.onnx"}
    (place / "model.engines.json").write_text(json.dumps({"otherwise": choice}))


def test_pruning_spares_a_version_whose_file_another_model_computes(builds: Builds) -> None:
    build(builds, net_fp32="a1", net_int8="b1")
    computes(builds, 1, 1)
    for number in range(2, 5):  # builds that were killed before their INT8 model was in its place
        build(builds, net_fp32=f"a{number}", net_int8="b1")
    assert [folder.name for folder in builds.prune(2)] == ["2"]
    assert versions(builds) == {"net_fp32": [1, 3, 4], "net_int8": [1]}
    for number in range(5, 7):
        build(builds, net_fp32=f"a{number}", net_int8=f"b{number}")
        computes(builds, number, number)
    assert [(folder.parent.name, folder.name) for folder in builds.prune(2)] == [
        ("net_int8", "1"),
        ("net_fp32", "1"),
        ("net_fp32", "3"),
        ("net_fp32", "4"),
    ], "INT8 goes first: at no moment does it name a file that is not there"


def test_a_rolled_back_version_keeps_the_file_that_it_computes(builds: Builds) -> None:
    build(builds, net_fp32="a1", net_int8="b1")
    build(builds, net_fp32="a1", net_int8="b2")
    computes(builds, 2, 1)
    builds.roll_back()
    build(builds, net_fp32="a3", net_int8="b3")
    assert builds.prune(1) == [builds.repository / "net_int8" / "1"]
    assert versions(builds) == {"net_fp32": [1, 3], "net_int8": [3]}


def test_pruning_goes_on_beside_a_damaged_record(builds: Builds) -> None:
    for number in range(1, 3):
        build(builds, net_fp32=f"a{number}", net_int8=f"b{number}")
        (builds.newest("net_int8") / "model.engines.json").write_text("{")
    assert len(builds.prune(1)) == 2


def test_pruning_spares_the_version_that_is_kept_in_git(builds: Builds) -> None:
    for number in range(1, 4):
        build(builds, net_fp32=f"a{number}")
    (builds.repository / "net_fp32" / "1" / "model.py").write_text("")
    assert [folder.name for folder in builds.prune(1)] == ["2"]


def test_a_damaged_model_is_made_again_in_its_place(builds: Builds) -> None:
    build(builds, net_fp32="a")
    file = builds.newest("net_fp32") / "model.onnx"
    file.write_text("damaged")
    build(builds, net_fp32="a")
    assert (file.read_text(), versions(builds)["net_fp32"]) == ("a", [1])


def test_a_version_is_never_seen_half_written(builds: Builds) -> None:
    build(builds, net_fp32="a")
    model = builds.repository / "net_fp32"

    def interrupted() -> None:
        with incoming(model / "2") as place:
            (place / "model.onnx").write_text("half")
            assert [path.name for path in model.iterdir() if not path.name.startswith(artifact.TEMPORARY)] == ["1"]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in model.iterdir()] == ["1"]
