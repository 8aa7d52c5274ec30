"""The command where nothing answers, and how it reads addresses; tests/dashboards/test_live.py has the rest."""

import subprocess
import sys
from pathlib import Path

import pytest

from ai102.top.sources import process
from tests.ports import free_addresses


@pytest.mark.parametrize("by", ["--url", "--gateway", "--triton"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_server_that_does_not_answer_is_one_line_and_exit_2(by: str, form: str, tmp_path: Path) -> None:
    address = free_addresses(1)[0]
    done = subprocess.run(
        [sys.executable, "-m", "ai102", "top", by, f"http://{address}", "--once", "--format", form], cwd=tmp_path,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"ai102: http://{address}/")
    assert done.stderr.endswith("does not answer (Connection refused)\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("127.0.0.1:8002", "127.0.0.1:8002", "http://127.0.0.1:8002/metrics"),
        ("b=triton-b:8002", "b", "http://triton-b:8002/metrics"),
        ("b=https://triton-b/metrics", "b", "https://triton-b/metrics"),
        ("http://127.0.0.1:8405/", "127.0.0.1:8405", "http://127.0.0.1:8405/metrics"),
    ],
)
def test_an_address_is_what_a_person_writes(text: str, name: str, address: str) -> None:
    assert process(text) == (name, address)
