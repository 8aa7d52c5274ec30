import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ai102.cli.main import app
from tests.cli import here

ROOT = Path(__file__).parents[2]


def ai102(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "ai102", *arguments], capture_output=True, text=True, cwd=cwd, timeout=60
    )


def test_help_lists_every_command_in_one_line_each() -> None:
    output = CliRunner().invoke(app, ["--help"]).output
    verbs = [
        "export", "calibrate", "quantize", "engine", "check-qdq", "report",
        "configure", "serve", "infer", "verify", "demo",
    ]  # fmt: skip
    assert [line.split()[0] for line in output.splitlines() if line.split()[:1] and line.split()[0] in verbs] == verbs


MISTAKES = {
    "no contract here": (["export"], "models.toml: no such file; run this in the folder that holds models.toml"),
    "unknown network": (
        ["export", "digit", "--contract", str(ROOT / "models.toml")],
        "no network digit in models.toml; there are digits, minilm",
    ),
    "unknown ensemble": (
        ["infer", "digits_int8", "x", "--contract", str(ROOT / "models.toml")],
        "digits_int8 is no ensemble of models.toml that takes images or texts; there are "
        "classify_image, score_image, embed_text",
    ),
    "no server": (
        ["infer", "embed_text", "hello", "--address", "127.0.0.1:9", "--contract", str(ROOT / "models.toml")],
        "grpc://127.0.0.1:9: no Triton answers (Connection refused); start one with `ai102 serve`",
    ),
    "no repository to examine": (["engine", "doctor", "nowhere"], "there is no model repository nowhere: run `make"),
    "no ONNX file": (["check-qdq", "models.toml"], "models.toml: there is no such file; name an ONNX file"),
    "percentile of everything": (
        ["calibrate", "digits", "--method", "percentile", "--percentile", "100"],
        "--percentile is 100: write a number between 50 and 100, such as 99.999",
    ),
    "two networks for one file": (
        ["engine", "build", "--onnx", "x.onnx", "--contract", str(ROOT / "models.toml")],
        "--onnx is the file of one network: name that network",
    ),
    "no repository": (["serve"], "there is no model repository model_repository: run `make engine`"),
}


@pytest.mark.parametrize(("arguments", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_exit_2(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = here.ai102(*arguments, cwd=tmp_path)
    assert (done.status, done.output) == (2, "")
    assert done.complaint.startswith("ai102: ")
    assert words in done.complaint
    assert done.complaint.count("\n") == 1


def test_a_stale_config_fails_the_check_and_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text((ROOT / "models.toml").read_text())
    assert ai102("configure", cwd=tmp_path).returncode == 0
    assert ai102("configure", "--check", cwd=tmp_path).returncode == 0
    (tmp_path / "model_repository" / "minilm_int8" / "config.pbtxt").unlink()
    done = ai102("configure", "--check", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        "ai102: minilm_int8/config.pbtxt: differs from models.toml; run `ai102 configure`\n",
    )


def test_a_target_that_cannot_be_built_for_changes_nothing(tmp_path: Path) -> None:
    if find_spec("tensorrt"):
        pytest.skip("TensorRT is installed here")
    (tmp_path / "models.toml").write_text((ROOT / "models.toml").read_text())
    done = ai102("engine", "build", "--target", "tensorrt", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["models.toml"]


def test_building_a_plan_from_a_file_needs_only_what_the_serving_image_is_given() -> None:
    absent = ["tritonclient", "torch", "transformers", "sklearn", "onnxruntime", "PIL", "tokenizers", "jinja2"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent!r})); sys.argv = ['ai102', 'engine', 'build', 'digits', "
        "'--onnx', 'build/digits/tensorrt.onnx']; from ai102.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "ModuleNotFoundError" not in done.stderr
    assert done.stderr.startswith("ai102: TensorRT is not installed here") or done.returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "ai102", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_one_line_and_leaves_no_partial_file(small_disk: Path) -> None:
    (small_disk / "models.toml").write_text((ROOT / "models.toml").read_text())
    (small_disk / "filler").write_bytes(bytes(1004 * 1024))
    done = ai102("configure", cwd=small_disk)
    assert done.returncode == 2
    assert "model_repository/" in done.stderr
    assert "No space left on device: free some space" in done.stderr
    assert done.stderr.count("\n") == 1
    (small_disk / "filler").unlink()
    assert ai102("configure", cwd=small_disk).returncode == 0
    assert [str(path) for path in small_disk.rglob(".*.*") if path.name != ".keep"] == []


# An interrupt while asyncio makes an event loop; what is half made cannot say whether it runs.
INTERRUPTED = """import asyncio, sys
from asyncio.base_events import BaseEventLoop
from ai102.cli import main

def made(self):
    self._closed = False
    raise KeyboardInterrupt

@main.app.command("wait")
def wait():
    asyncio.new_event_loop()

BaseEventLoop.__init__ = made
sys.argv = ["ai102", "wait"]
main.main()
"""


def test_an_interrupt_is_one_line_whatever_it_left_half_made() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "ai102: interrupted\n")
