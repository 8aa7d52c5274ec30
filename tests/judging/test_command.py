"""The command: what it refuses in one line, and what its contract can be judged by."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from ai102.contract import contract_from_text, load
from ai102.errors import UserError
from ai102.judging.replay import crowd_size
from ai102.judging.subject import subjects_of
from tests.cli import here
from tests.cli.test_cli import ai102
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
CONTRACT = load(ROOT / "models.toml")
WITHOUT_TEST_SET = """
[networks.cats]
source = "onnx:cats.onnx"
task = "image-classification"
inputs = [{ name = "pixels", type = "UINT8", dims = [1, 8, 8], layout = "NCHW" }]
outputs = [{ name = "scores", type = "FP32", dims = [2] }]
labels = ["cat", "dog"]
latency_goal = { p99_ms = 20.0 }
batching = { max_batch_size = 8 }

[ensembles.label_cat]
steps = ["cats_decode", "cats_fp32", "cats_label"]
inputs = ["image"]
outputs = ["label", "score"]
"""
SETS = ROOT / "calibration" / "sets"
MISTAKES = {
    "an unknown model": (["--models", "cats"], "--models names cats, which is no network and no pipeline"),
    "no server": ([], "no Triton answers (Connection refused)"),
    "another protocol": (["--canary", "ftp://x"], "ftp://x"),
    "two protocols": (["--primary", "http://127.0.0.1:9"], "name both by the same protocol"),
    "no metrics": (["--metrics", "http://127.0.0.1:9"], "does not answer"),
    "no process": (["--metrics", "pid:0x"], "no such process runs here"),
    "no token": (["--token-file", "nowhere"], "--token-file: cannot read nowhere"),
    "an empty token": (["--token-file", "/dev/null"], "does not hold one token"),
    "a file for a folder": (["--out", "models.toml"], "--out: models.toml is a file: name a folder"),
    "no address to serve": (["--serve", "here"], '--serve: "here" is no address'),
    "answers without webhooks": (["--answers", "127.0.0.1:0"], "give both"),
    "copies without answers": (["--serve", "127.0.0.1:0", "--joined", "200"], "say by --answers where they are taken"),
    "no address for answers": (["--serve", "127.0.0.1:0", "--answers", "here"], '--answers: "here" is no address'),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(name: str) -> None:
    options, words = MISTAKES[name]
    canary = [] if "--canary" in options else ["--canary", f"grpc://127.0.0.1:{free_port()}"]
    done = here.ai102("release", "judge", "--models", "digits", *canary, *options, cwd=ROOT)
    assert (done.status, done.complaint.count("\n"), words in done.complaint) == (2, 1, True), done.complaint


class Refuses(BaseHTTPRequestHandler):
    """A gateway that knows no token."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b'{"error": "the token is unknown"}'
        self.send_response(401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


def test_a_wrong_token_is_one_line_and_status_2(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("wrong\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as gateway:
        threading.Thread(target=gateway.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{gateway.server_address[1]}"
        done = ai102("release", "judge", "--canary", url, "--models", "digits", "--token-file", str(tmp_path / "token"))
        gateway.shutdown()
    assert (done.returncode, done.stderr.count("\n"), "the token is unknown" in done.stderr) == (2, 1, True), (
        done.stderr
    )


def test_the_gate_answers_flagger_until_a_signal() -> None:
    command = ["release", "judge", "--models", "digits", "--serve", "127.0.0.1:0"]
    canary = f"grpc://127.0.0.1:{free_port()}"
    with subprocess.Popen(
        [sys.executable, "-m", "ai102", *command, "--canary", canary], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as gate:
        assert gate.stderr is not None
        ready = gate.stderr.readline()
        url = ready.split()[1]
        payload = {"name": "triton", "namespace": "models", "phase": "Progressing", "checksum": "85d557f47b"}
        deadline = time.monotonic() + 60
        while "no Triton answers" not in (answer := httpx.post(f"{url}/rollout", json=payload, timeout=30)).text:
            assert time.monotonic() < deadline, answer.text
        gate.terminate()
        assert (answer.status_code, gate.wait(30)) == (409, 0)


def test_the_gate_takes_records_of_live_answers_on_a_port_of_their_own() -> None:
    canary = f"grpc://127.0.0.1:{free_port()}"
    addresses = ["--serve", "127.0.0.1:0", "--answers", "127.0.0.1:0"]
    command = ["release", "judge", "--models", "digits", *addresses, "--joined", "3", "--canary", canary]
    with subprocess.Popen(
        [sys.executable, "-m", "ai102", *command], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as gate:
        assert gate.stderr is not None
        hooks, answers = (gate.stderr.readline().split()[1] for _ in range(2))
        payload = {"name": "triton", "namespace": "models", "phase": "Progressing", "checksum": "85d557f47b"}
        httpx.post(f"{hooks}/rollout", json=payload, timeout=30)
        head = '{"host": "triton-7c9d8f6b5-x2x4z", "dropped": 0}'
        record = '{"id": "a", "model": "classify_image", "rows": [["seven", 0.9, null]]}'
        statuses = [
            httpx.post(answers, content=f"{head}\n{record}", timeout=30).status_code,
            httpx.post(answers, content="{", timeout=30).status_code,
            httpx.post(f"{hooks}/answers", content=f"{head}\n{record}", timeout=30).status_code,
        ]
        live = httpx.get(f"{hooks}/models/triton.json", timeout=30).json()["live"]
        gate.terminate()
        assert (statuses, gate.wait(30)) == ([204, 400, 404], 0)
        assert (live["records_of_the_canary"], live["joined_wanted"]) == (1, 3)


def test_the_reference_contract_is_judged_by_both_networks() -> None:
    digits, minilm = subjects_of(CONTRACT, SETS)
    assert [target.model for target in digits.targets] == ["classify_image", "score_image", "classify_image_steps"]
    assert (len(digits.items), digits.is_whole_set, digits.labels is not None) == (460, True, True)
    assert [(target.model, target.stride) for target in minilm.targets] == [("embed_text", 1), ("embed_text_steps", 4)]
    assert (len(minilm.items), minilm.set_size, minilm.labels) == (128, 1284, None)


def test_a_pipeline_alone_is_judged() -> None:
    (digits,) = subjects_of(CONTRACT, SETS, ["score_image"], most=50)
    assert ([target.model for target in digits.targets], len(digits.items)) == (["score_image"], 50)


def test_the_order_of_the_samples_is_random_and_always_the_same() -> None:
    first, second = (subjects_of(CONTRACT, SETS, ["digits"])[0] for _ in range(2))
    assert first.items == second.items
    assert first.labels is not None
    assert first.labels[:20].tolist() != sorted(first.labels[:20].tolist())


def test_a_network_without_a_test_set_cannot_be_judged() -> None:
    without = contract_from_text(WITHOUT_TEST_SET, Path("models.toml"))
    with pytest.raises(UserError, match=r"cats has no calibration_set in models\.toml, so there is no test split"):
        subjects_of(without, SETS, ["cats"])
    with pytest.raises(UserError, match="nothing can be judged by its answers"):
        subjects_of(without, SETS)


@pytest.mark.parametrize(("share", "size"), [(0.01, 4), (0.1, 4), (0.2, 8), (1.0, 16)])
def test_more_traffic_means_more_requests_at_once(share: float, size: int) -> None:
    assert crowd_size(share) == size
