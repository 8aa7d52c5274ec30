"""The benchmark: checks before the measurement, and a short run."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from loadtest.bench.contestants import is_same
from loadtest.bench.load import Answer
from loadtest.bench.peers import value_from_answer
from loadtest.bench.results import read

LOADTEST = Path(__file__).parents[3] / "loadtest"


@pytest.mark.parametrize(
    ("actual", "expected", "same"),
    [
        ("five", "five", True),
        ("six", "five", False),
        (np.array([1.0, 0.01]), np.array([1.0, 0.0]), True),
        (np.array([1.0, 1.0]), np.array([1.0, 0.0]), False),
        (np.array([1.0, 0.0, 0.0]), np.array([1.0, 0.0]), False),
        (np.array([np.nan, 0.0]), np.array([1.0, 0.0]), False),
        (np.zeros(2), np.array([1.0, 0.0]), False),
    ],
)
def test_an_answer_counts_when_it_is_that_of_the_session(actual: object, expected: object, same: bool) -> None:
    assert is_same(actual, expected) is same


@pytest.mark.parametrize(
    ("body", "media_type", "kind", "value"),
    [
        (b'{"label": "five", "score": 1.0}', "application/json", "image", "five"),
        (b'[{"label": "five", "score": 1.0}]', "application/json", "image", "five"),
        (b"[[1.0, 2.0]]", "application/json", "tensor", [1.0, 2.0]),
        (np.array([1, 2], np.float32).tobytes(), "application/octet-stream", "tensor", [1.0, 2.0]),
    ],
)
def test_answers_of_peers_are_read_in_every_form(body: bytes, media_type: str, kind: str, value: object) -> None:
    answer_value = value_from_answer(Answer(body, {"Content-Type": media_type}), kind)
    assert (answer_value if isinstance(answer_value, str) else answer_value.tolist()) == value


def test_an_unknown_work_is_refused_in_one_line() -> None:
    done = bench("--work", "imgae")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("--work: there is no 'imgae'; there are image, text")


@pytest.mark.e2e
def test_a_short_run_of_triton_and_the_loop_writes_all_results(tmp_path: Path) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core: server and client need one each")
    output = str(tmp_path)
    done = bench("--only", "triton,loop", "--work", "image", "--rounds", "1", "--seconds", "0.3", "--output", output)
    assert done.returncode == 0, done.stderr
    (work,) = read(tmp_path / "results.json").works
    assert {row.server: row.not_measured for row in work.servers} == dict.fromkeys(
        (
            "session loop",
            "session loop, batched",
            "Triton HTTP",
            "Triton gRPC",
            "Triton shared memory",
            "Triton gRPC, digits_decode",
            "Triton gRPC, digits_int8",
            "Triton gRPC, classify_image",
            "Triton gRPC, classify_image_steps",
        ),
        "",
    )
    assert all(cell.errors == 0 and cell.per_s > 0 for cell in work.cells)
    assert {cell.concurrency for cell in work.cells if cell.server == "Triton gRPC"} == {1, 8, 32}
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
    assert not list(Path("/dev/shm").glob("bench_*"))


def bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "loadtest.bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=LOADTEST.parent)
