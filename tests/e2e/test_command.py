"""The command `tritonserver` of the environment behaves as the real one does in NVIDIA's container."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.ports import free_ports

from .conftest import write_repository
from .onnx_files import identity

pytestmark = pytest.mark.e2e

COMMAND = Path(sys.executable).with_name("tritonserver")
QUIET = ["--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--allow-gpu-metrics=false"]


def run(*arguments: str, environment: Mapping[str, str] = os.environ, folder: Path | None = None) -> tuple[int, str]:
    done = subprocess.run(
        [COMMAND, *arguments],
        env=dict(environment),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def test_help_is_that_of_the_real_server() -> None:
    assert "--model-repository <string>" in run("--help")[1]


def test_a_repository_relative_to_the_working_folder_is_served_with_no_other_argument(tmp_path: Path) -> None:
    write_repository(tmp_path / "model_repository", {"plain": {"1/model.onnx": identity()}})
    ports = dict(zip(("http", "grpc", "metrics"), free_ports(3), strict=True))
    command = [COMMAND, "--model-repository=model_repository", *QUIET]
    command += [f"--{protocol}-port={port}" for protocol, port in ports.items()]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        try:
            # The log ends with the process, so this loop ends too; the alarm is its deadline.
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            signal.alarm(60)
            log = []
            for line in process.stdout:
                log.append(line)
                if "Started Metrics Service" in line:
                    break
        finally:
            signal.alarm(0)
            process.terminate()
            process.communicate(timeout=30)
    assert any(re.search(r"\| plain +\| 1 +\| READY", line) for line in log), "".join(log[-20:])


def test_the_users_own_backend_directory_wins(tmp_path: Path) -> None:
    write_repository(tmp_path / "models", {"plain": {"1/model.onnx": identity()}})
    (tmp_path / "backends").mkdir()
    status, log = run("--model-repository=models", "--backend-directory", "backends", *QUIET, folder=tmp_path)
    assert (status, "unable to find backend library for backend 'onnxruntime'" in log) == (1, True)


def test_a_home_that_cannot_be_written_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file instead of a folder")
    environment = os.environ | {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    environment.pop("XDG_CACHE_HOME", None)
    _, log = run("--help", environment=environment)
    assert ("--model-repository <string>" in log, len(list(tmp_path.glob("ai102-*/backends-*")))) == (True, 1)


def test_a_backend_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    # A folder that anyone may write to must not be used, for code is run from it.
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path)}
    (tmp_path / f"ai102-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / f"ai102-{os.getuid()}").chmod(0o777)
    status, log = run("--help", environment=environment)
    assert (status, log.count("\n"), log.startswith("tritonserver: no place for Triton's backend directory")) == (
        2,
        1,
        True,
    )
