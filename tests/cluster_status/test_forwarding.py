"""`ai102 cluster forward`: ports of a replica are there while a command runs, and its exit status comes back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ai102.cli.main import app
from ai102.cluster.asking import Kubectl
from ai102.cluster.forwarding import filled_in, forwarded
from ai102.errors import UserError

FORWARDS = """\
import signal, sys, time
assert sys.argv[-5:] == ["--address=127.0.0.1", "service/triton", ":8000", ":8001", ":8002"], sys.argv
for number in (8000, 8001, 8002):
    print(f"Forwarding from 127.0.0.1:{number + 30000} -> {number}", flush=True)
signal.pause()
"""
REFUSES = "import sys; sys.exit('error: services \"triton\" not found')"


def kubectl(folder: Path, text: str) -> Kubectl:
    program = folder / "kubectl"
    program.write_text(f"#!{sys.executable} -IS\n{text}", encoding="utf-8")
    program.chmod(0o755)
    return Kubectl(str(program), (), "ai102", 10.0)


def test_addresses_are_there_by_the_names_of_the_ports(tmp_path: Path) -> None:
    with forwarded(kubectl(tmp_path, FORWARDS), "service/triton") as addresses:
        assert addresses == {"http": "127.0.0.1:38000", "grpc": "127.0.0.1:38001", "metrics": "127.0.0.1:38002"}


def test_what_kubectl_says_is_the_error(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match='port-forward service/triton: error: services "triton" not found: see that'),
        forwarded(kubectl(tmp_path, REFUSES), "service/triton"),
    ):
        pass


def test_known_words_in_braces_are_replaced_and_others_stay() -> None:
    assert filled_in(["--url=grpc://{grpc}", "{json}", "{http}"], {"grpc": "h:1", "http": "h:2"}) == [
        "--url=grpc://h:1",
        "{json}",
        "h:2",
    ]


@pytest.mark.parametrize(("status", "wanted"), [("0", 0), ("3", 3)])
def test_the_exit_status_is_the_commands(
    status: str, wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl(tmp_path, FORWARDS)
    monkeypatch.setenv("PATH", str(tmp_path))
    code = "import sys; sys.exit(int(sys.argv[1]) if sys.argv[2] == '--at=127.0.0.1:38001' else 99)"
    words = ["cluster", "forward", sys.executable, "-c", code, status, "--at={grpc}"]
    assert CliRunner().invoke(app, words).exit_code == wanted


def test_a_command_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl(tmp_path, FORWARDS)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(app, ["cluster", "forward", str(tmp_path / "absent")])
    assert isinstance(done.exception, UserError)
    assert "name a command that is there" in str(done.exception)
