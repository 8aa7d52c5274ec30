"""The set-up takes PyTorch's CPU build where there is no GPU and one is to be had, and says what it did."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import setup
from choose_torch import Choice, answers_within, choose, has_nvidia_gpu, pinned_version, size_on_disk

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PIP = (sys.executable, "-m", "pip")
CPU_WHEEL = "torch-9.1.0+cpu-py3-none-any.whl"  # pip lists wheels by their names and does not open them
CUDA_WHEEL = "torch-9.1.0-py3-none-any.whl"


class Index:
    """A package index on a free port, which has the given wheels of torch and nothing else."""

    def __init__(self, *wheels: str) -> None:
        links = "".join(f'<a href="/{name.replace("+", "%2B")}">{name}</a>\n' for name in wheels)
        page = f"<!DOCTYPE html><html><body>{links}</body></html>".encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path == "/torch/" else 404)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                if self.path == "/torch/":
                    self.wfile.write(page)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def with_cpu() -> Iterator[Index]:
    index = Index(CPU_WHEEL, CUDA_WHEEL)
    yield index
    index.close()


@pytest.fixture
def without_cpu() -> Iterator[Index]:
    index = Index(CUDA_WHEEL)
    yield index
    index.close()


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def nobody() -> str:
    """The URL of a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def folder_with(folder: Path, *wheels: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in wheels:
        (folder / name).touch()
    return folder


def environment(index: str, **further: str) -> dict[str, str]:
    """No variable or file of this machine's pip, and a PATH without nvidia-smi."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_") and name != "PATH"}
    return {**kept, "PATH": "", "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index, **further}


def chosen(index: str, wheels: Path | None, pytorch_index: str, **further: str) -> Choice:
    return choose("9.1.0", PIP, environment(index, **further), wheels, pytorch_index)


def test_cpu_build_comes_from_the_folder_that_wheels_names(tmp_path: Path, without_cpu: Index, nobody: str) -> None:
    folder = folder_with(tmp_path / "wheels", CPU_WHEEL)
    choice = chosen(without_cpu.url, folder, nobody)
    assert (choice.requirement, choice.is_cpu_build, choice.notes) == ("torch==9.1.0+cpu", True, ())
    assert choice.source.pip_options == ("--no-index", "--find-links", str(folder))


@pytest.mark.parametrize(
    ("wheels", "note"),
    [
        ((), "has no torch 9.1.0+cpu for this Python"),
        ((CUDA_WHEEL,), "has no torch 9.1.0+cpu for this Python"),
        (("torch-9.1.0+cpu-cp27-cp27m-linux_x86_64.whl",), "has no torch 9.1.0+cpu for this Python"),
        (None, "is not a folder"),
    ],
)
def test_wheels_without_a_fitting_torch_are_named_and_the_index_is_used(
    tmp_path: Path, with_cpu: Index, nobody: str, wheels: tuple[str, ...] | None, note: str
) -> None:
    folder = tmp_path / "wheels"
    if wheels is not None:
        folder_with(folder, *wheels)
    choice = chosen(with_cpu.url, folder, nobody)
    assert (choice.requirement, choice.source.pip_options) == ("torch==9.1.0+cpu", ())
    assert choice.notes == (f"WHEELS={folder} {note}",)


def test_cpu_build_comes_from_the_further_index_of_pip(without_cpu: Index, with_cpu: Index, nobody: str) -> None:
    choice = chosen(without_cpu.url, None, nobody, PIP_EXTRA_INDEX_URL=with_cpu.url)
    assert (choice.requirement, choice.source.pip_options) == ("torch==9.1.0+cpu", ())


def test_cpu_build_comes_from_the_index_for_torch_alone(without_cpu: Index, with_cpu: Index, nobody: str) -> None:
    choice = chosen(without_cpu.url, None, nobody, TORCH_INDEX=with_cpu.url)
    assert (choice.requirement, choice.source.pip_options) == ("torch==9.1.0+cpu", ("--index-url", with_cpu.url))


def test_cpu_build_comes_from_pytorch_where_the_user_named_nothing(without_cpu: Index, with_cpu: Index) -> None:
    choice = chosen(without_cpu.url, None, with_cpu.url)
    assert (choice.requirement, choice.source.pip_options) == ("torch==9.1.0+cpu", ("--index-url", with_cpu.url))


def test_build_with_cuda_is_the_last_resort_and_says_what_was_tried(without_cpu: Index, nobody: str) -> None:
    choice = chosen(without_cpu.url, None, nobody, TORCH_INDEX=nobody)
    assert (choice.requirement, choice.is_cpu_build) == ("torch==9.1.0", False)
    assert choice.notes == (
        "the index in TORCH_INDEX has no torch 9.1.0+cpu for this Python",
        "pip's own configuration has no torch 9.1.0+cpu for this Python",
        "PyTorch's CPU index does not answer within 2 s",
    )


def test_silent_index_of_pytorch_is_given_up(without_cpu: Index, silent: str) -> None:
    # That this returns is the test: the server never answers.
    choice = chosen(without_cpu.url, None, silent)
    assert choice.notes[-1] == "PyTorch's CPU index does not answer within 2 s"


def test_only_an_answer_in_time_counts(with_cpu: Index, silent: str, nobody: str) -> None:
    assert answers_within(f"{with_cpu.url}/torch/", 30)
    assert not answers_within(f"{with_cpu.url}/no-such-page/", 30)
    assert not answers_within(f"{silent}/torch/", 0.05)
    assert not answers_within(f"{nobody}/torch/", 30)


@pytest.mark.parametrize(("status", "has_gpu"), [(0, True), (9, False)])
def test_gpu_is_there_when_nvidia_smi_works(tmp_path: Path, status: int, has_gpu: bool) -> None:
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\nexit {status}\n")
    command.chmod(0o755)
    assert has_nvidia_gpu({"PATH": str(tmp_path)}) is has_gpu
    assert not has_nvidia_gpu({"PATH": ""})


def test_with_a_gpu_a_folder_of_cpu_wheels_does_not_count(tmp_path: Path, nobody: str) -> None:
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    folder = folder_with(tmp_path / "wheels", CPU_WHEEL)
    choice = chosen(nobody, folder, nobody, PATH=str(tmp_path), PIP_FIND_LINKS=str(folder))
    assert (choice.requirement, choice.is_cpu_build) == ("torch===9.1.0", False)  # "==" would take +cpu from the folder


def test_pin_of_torch_is_one_version_in_both_files() -> None:
    version = pinned_version((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert f"torch=={version}" in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    with pytest.raises(ValueError, match="one exact version"):
        pinned_version('build = ["torch>=2.0"]')


def test_size_counts_torch_and_its_cuda_packages_alone(tmp_path: Path) -> None:
    for name in ("torch/lib/a.so", "nvidia/cublas/b.so", "numpy/c.so"):
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(1000))
    assert size_on_disk(tmp_path) == 2000


def test_relative_wheels_count_from_the_folder_of_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_cpu: Index, nobody: str
) -> None:
    folder_with(tmp_path / "beside" / "wheels", CPU_WHEEL)
    (tmp_path / "clone").mkdir()
    monkeypatch.chdir(tmp_path / "clone")
    monkeypatch.setenv("WHEELS", "../beside/wheels")
    wheels = setup.named_wheels()
    monkeypatch.chdir("/")
    assert chosen(without_cpu.url, wheels, nobody).requirement == "torch==9.1.0+cpu"
    monkeypatch.setenv("WHEELS", "")
    assert setup.named_wheels() is None


def test_python_that_does_not_run_is_one_line() -> None:
    run = subprocess.run(
        [ROOT / "tools" / "setup.sh"],
        env={**os.environ, "PYTHON": "/no/such/python"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("setup: /no/such/python does not run: 'apt-get install python3.11 python3.11-venv'")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize("version", [(3, 10), (3, 13), (2, 7)])
def test_python_that_is_not_supported_is_one_line(version: tuple[int, int], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        setup.check_python(version)
    sentence = capsys.readouterr().err
    assert (stop.value.code, sentence.count("\n")) == (2, 1)
    assert f"is Python {version[0]}.{version[1]}; Python 3.11 or 3.12 is needed" in sentence


def test_supported_python_passes() -> None:
    setup.check_python((3, 11))
    setup.check_python((3, 12))
