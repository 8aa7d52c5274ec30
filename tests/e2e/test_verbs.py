"""The commands as a user runs them, against the repository that `make engine` built."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai102.samples import read
from tests.servers import Server

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parent.parent.parent


def ai102(*arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ai102", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=timeout_s
    )


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    ensembles = ["classify_image", "embed_text"]
    with Server(ROOT / "model_repository", http_port=0, grpc_port=0, metrics_port=0, models=ensembles) as started:
        yield started


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three held-out digits (five, zero, one) and a text file with the name of an image."""
    folder = tmp_path_factory.mktemp("images")
    items = read.read_samples(ROOT / "calibration" / "sets", "digits", "test").items[:3]
    for number, item in enumerate([*items, b"just text"]):
        (folder / f"{number}.png").write_bytes(item)
    return [str(folder / f"{number}.png") for number in range(4)]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_infer_prints_one_row_per_image(protocol: str, server: Server, images: list[str]) -> None:
    address = server.http_url if protocol == "http" else server.grpc_url
    done = ai102("infer", "classify_image", *images[:3], "--protocol", protocol, "--address", address)
    assert done.returncode == 0, done.stderr
    assert [line.split()[-3] for line in done.stdout.splitlines()] == ["label", "five", "zero", "one"]


def test_infer_as_json_is_json(server: Server) -> None:
    done = ai102("infer", "embed_text", "hello", "wörld", "--json", "--address", server.grpc_url)
    entries = json.loads(done.stdout)
    assert [entry["item"] for entry in entries] == ["hello", "wörld"]
    assert [len(entry["sentence_embedding"]) for entry in entries] == [384, 384]
    assert [entry["truncated"] for entry in entries] == [False, False]


def test_infer_answers_good_items_and_reports_bad_ones(server: Server, images: list[str]) -> None:
    done = ai102("infer", "classify_image", images[0], images[3], "missing.png", "--address", server.grpc_url)
    assert done.returncode == 2
    assert "five" in done.stdout
    assert "these 9 bytes are not a PNG or JPEG image: send an encoded image file" in done.stdout
    assert "cannot read missing.png: No such file or directory" in done.stdout
    assert "Traceback" not in done.stderr


def test_infer_warns_of_a_truncated_text(server: Server) -> None:
    done = ai102("infer", "embed_text", "word " * 1000, "--address", server.grpc_url)
    assert done.returncode == 0
    assert "longer than the network reads; its end was dropped" in done.stderr


def test_verify_compares_the_served_ensemble_with_pytorch() -> None:
    done = ai102("verify", "digits")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "digits: PyTorch against score_image as served: top-1 FP32" in done.stdout


def test_the_report_is_a_page_and_the_same_facts_as_json() -> None:
    done = ai102("report", "digits")
    assert done.returncode == 0, done.stderr
    page = (ROOT / "calibration" / "reports" / "digits.html").read_text(encoding="utf-8")
    facts = json.loads((ROOT / "calibration" / "reports" / "digits.json").read_text(encoding="utf-8"))
    assert facts["verdict"] in page
    assert [layer["on"] for layer in facts["layers"]] == [{"ONNX Runtime": "INT8", "TensorRT": "INT8"}] * 10


def test_the_graph_for_tensorrt_keeps_every_rule_and_that_for_onnx_runtime_does_not() -> None:
    clean, broken = (ai102("check-qdq", f"build/digits/{file}.onnx") for file in ("tensorrt", "int8"))
    assert (clean.returncode, clean.stdout.splitlines()) == (
        0,
        ["build/digits/tensorrt.onnx: 10 of 10 weighted layers are quantized so that TensorRT runs them in INT8"],
    )
    assert broken.returncode == 1
    assert "Q101 rejected at parse" in broken.stdout


def test_a_second_engine_run_builds_nothing() -> None:
    done = ai102("engine")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_demo_shows_real_answers_and_draws_them() -> None:
    sheet = ROOT / "build" / "demo" / "contact_sheet.png"
    sheet.unlink(missing_ok=True)
    done = ai102("demo")
    assert done.returncode == 0, done.stderr
    assert "24 of 24 right over both protocols" in done.stdout
    assert "Milliseconds a request" in done.stdout
    assert sheet.read_bytes().startswith(b"\x89PNG")
