"""The verb `ai102 lint` as its user types it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ai102.cli.main import app
from ai102.errors import UserError
from ai102.lint.catalogue import CODES
from tests.e2e.conftest import write_repository

from .bad_models import CODE, PLAIN, ensemble, python, step

ROOT = Path(__file__).parents[2]
BAD = PLAIN.replace("[ 4 ]", "[ 0 ]", 1)


def run(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["lint", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def test_a_clean_repository_exits_0(tmp_path: Path) -> None:
    write_repository(tmp_path, {"m": python(PLAIN)})
    assert run(tmp_path) == (0, "no problems\n")


@pytest.mark.parametrize("config", [BAD, PLAIN.replace("8", "1") + "dynamic_batching { }"], ids=["error", "warning"])
def test_a_finding_of_either_kind_exits_1(config: str, tmp_path: Path) -> None:
    write_repository(tmp_path, {"m": python(config)})
    assert run(tmp_path)[0] == 1


MISTAKES = {
    "no folder": (["nowhere"], "there is no folder nowhere"),
    "no models": (["."], "holds no model"),
    "no code": (["--explain", "MR999"], "there is no code MR999: the codes are MR001, "),
    "no version": ([".", "--triton", "latest"], "--triton is latest: write a version of tritonserver such as 2.51"),
}


@pytest.mark.parametrize(("arguments", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_of_use_is_one_line(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        run(*arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


def test_the_process_exits_2_on_a_mistake_of_use(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ai102", "lint", "nowhere"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_the_folder_of_one_model_is_judged_among_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_repository(tmp_path, {"m": ensemble(step("part")), "part": python(PLAIN), "other": python(BAD)})
    assert run(tmp_path / "m") == (0, "no problems\n")
    assert run(tmp_path / "other")[0] == 1
    monkeypatch.chdir(tmp_path / "other")
    assert run(".")[0] == 1


def test_the_path_told_is_the_path_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_repository(tmp_path / "models", {"m": python(BAD)})
    monkeypatch.chdir(tmp_path)
    assert run("models")[1].startswith("models/m/config.pbtxt:3:48: MR204 error: ")
    monkeypatch.chdir(tmp_path / "models")
    assert run(".")[1].startswith("m/config.pbtxt:3:48: MR204 error: ")


def test_a_repair_says_how_many_and_leaves_the_rest(tmp_path: Path) -> None:
    write_repository(tmp_path, {"m": python('name: "n"\n' + BAD)})
    status, told = run(tmp_path, "--fix", "--format", "json")
    assert (status, [finding["code"] for finding in json.loads(told)]) == (1, ["MR204"])


def test_a_later_server_reads_a_later_field(tmp_path: Path) -> None:
    write_repository(tmp_path, {"m": python(PLAIN + "model_metrics { }")})
    assert (run(tmp_path)[0], run(tmp_path, "--triton", "2.52")[0]) == (1, 0)


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_explained(code: str) -> None:
    status, told = run("--explain", code.lower())
    assert (status, told.splitlines()[0]) == (0, f"{code} {CODES[code].severity}: {CODES[code].title}")
    assert len(CODES[code].why) > 80


def test_our_own_repository_is_clean_before_anything_is_built(tmp_path: Path) -> None:
    for file in (ROOT / "model_repository").rglob("*"):
        place = file.relative_to(ROOT)
        is_committed = len(place.parts) < 4 or file.suffix == ".py" or file.name == ".keep"
        if file.is_file() and is_committed and "warmup" not in place.parts:
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tmp_path / place)
    assert run(tmp_path / "model_repository", "--no-files") == (0, "no problems\n")


def test_the_hook_for_pre_commit_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    write_repository(tmp_path / "model_repository", {"m": {"config.pbtxt": PLAIN}, "n": {"1/model.py": CODE}})
    monkeypatch.chdir(tmp_path)
    assert run(*hook["entry"].split()[2:], *hook["args"]) == (0, "no problems\n")
