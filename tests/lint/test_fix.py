"""What --fix repairs, and that it stops when nothing is left."""

from pathlib import Path

import pytest

from ai102.lint import Fix, lint
from ai102.lint.fix import fix, repaired_text
from tests.e2e.conftest import write_repository

from .bad_models import CODE, IN, ONNX, OUT, PLAIN, ensemble, given, onnx, python, step, warmed

REPAIRED = {
    "a misspelt field and the number in it": (python(PLAIN.replace("max_batch_size: 8", 'max_batchsize: "8"')), PLAIN),
    "an enum without its prefix": (python(PLAIN.replace("TYPE_FP32", "FP32")), PLAIN),
    "another name than the folder's": (python('name: "n"\n' + PLAIN), 'name: "m"\n' + PLAIN),
    "an instance group of an ensemble": (
        ensemble(step("part"), more="instance_group [ { count: 1 }, { count: 2 } ]\n"),
        ensemble(step("part"), more="\n")["config.pbtxt"],
    ),
    "GPUs of a CPU": (
        python(PLAIN + "instance_group { gpus: [ 0, 1 ] kind: KIND_CPU }"),
        PLAIN + "instance_group {  kind: KIND_CPU }",
    ),
    "a warm-up without its size": (
        python(PLAIN + warmed(given(), "")),
        PLAIN + warmed(given(), "").replace("name", "batch_size: 1 name", 1),
    ),
    "the file's data type and dims": (
        onnx(ONNX.replace(IN, 'input { name: "x" data_type: TYPE_INT8 dims: 5 }\n')),
        ONNX.replace(IN, 'input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }\n'),
    ),
}


@pytest.mark.parametrize(("files", "wanted"), REPAIRED.values(), ids=REPAIRED)
def test_a_repair_leaves_a_clean_config_with_all_else_as_it_was(files: dict, wanted: str, tmp_path: Path) -> None:
    write_repository(tmp_path, {"m": files, "part": python(PLAIN)})
    made, left = fix(tmp_path, lambda: lint(tmp_path))
    assert (made > 0, left, (tmp_path / "m/config.pbtxt").read_text()) == (True, [], wanted)


def test_what_has_no_single_answer_is_left_and_told(tmp_path: Path) -> None:
    write_repository(tmp_path, {"m": python(PLAIN.replace("[ 4 ]", "[ 0 ]", 1))})
    made, left = fix(tmp_path, lambda: lint(tmp_path))
    assert (made, [finding.code for finding in left]) == (0, ["MR204"])
    assert (tmp_path / "m/config.pbtxt").read_text() == PLAIN.replace("[ 4 ]", "[ 0 ]", 1)


def test_of_two_repairs_of_one_place_the_first_is_made() -> None:
    assert repaired_text("0123456789", [Fix(4, 8, "b"), Fix(2, 5, "a"), Fix(9, 9, "c")]) == ("01a5678c9", 2)


def test_bytes_that_are_no_text_survive_a_repair(tmp_path: Path) -> None:
    raw = b"# caf\xe9\r\nmax_batchsize: 8\r\n" + PLAIN.replace("max_batch_size: 8\n", "").encode()
    write_repository(tmp_path, {"m": {"config.pbtxt": raw, "1/model.py": CODE}})
    fix(tmp_path, lambda: lint(tmp_path))
    assert (tmp_path / "m/config.pbtxt").read_bytes() == raw.replace(b"batchsize", b"batch_size")


def test_a_config_keeps_its_mode(tmp_path: Path) -> None:
    write_repository(tmp_path, {"m": python('name: "n"\n' + IN + OUT + 'backend: "python"')})
    (tmp_path / "m/config.pbtxt").chmod(0o640)
    fix(tmp_path, lambda: lint(tmp_path))
    assert (tmp_path / "m/config.pbtxt").stat().st_mode & 0o777 == 0o640
