import errno
from collections.abc import Mapping
from pathlib import Path

import pytest

from ai102 import artifact
from ai102.errors import UserError


def writer(text: str, facts: Mapping[str, object] | None = None, calls: list[str] | None = None) -> artifact.Write:
    def write(temporary: Path) -> Mapping[str, object] | None:
        if calls is not None:
            calls.append(text)
        temporary.write_text(text)
        return facts

    return write


def test_a_file_is_made_once_while_its_inputs_stay_the_same(tmp_path: Path) -> None:
    calls: list[str] = []
    file = tmp_path / "folder" / "x.onnx"
    assert artifact.make(file, {"weights": "1"}, writer("a", {"n": 1}, calls))
    assert not artifact.make(file, {"weights": "1"}, writer("b", None, calls))
    assert (calls, file.read_text(), artifact.facts_of(file)) == (["a"], "a", {"n": 1})


@pytest.mark.parametrize("change", ["other inputs", "file edited", "file gone", "stamp gone", "stamp broken"])
def test_a_file_is_made_again_when_anything_changed(change: str, tmp_path: Path) -> None:
    file, stamp = tmp_path / "x", tmp_path / "x.made.json"
    artifact.make(file, {"weights": "1"}, writer("a"))
    match change:
        case "file edited":
            file.write_text("other")
        case "file gone":
            file.unlink()
        case "stamp gone":
            stamp.unlink()
        case "stamp broken":
            stamp.write_text('{"made_from": ')
    assert artifact.make(file, {"weights": "2" if change == "other inputs" else "1"}, writer("b"))
    assert file.read_text() == "b"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupt_leaves_the_old_file_and_nothing_else(error: BaseException, tmp_path: Path) -> None:
    file = tmp_path / "x"
    artifact.make(file, {"weights": "1"}, writer("a"))

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        raise error

    with pytest.raises(type(error)):
        artifact.make(file, {"weights": "2"}, write)
    assert file.read_text() == "a"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "x.made.json"]


def test_facts_of_a_file_nobody_made_say_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not built yet; run `make engine`"):
        artifact.facts_of(tmp_path / "x")
