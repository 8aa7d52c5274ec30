"""The command: what it refuses in one line, and what its contract can be judged by."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ai102.contract import load
from ai102.errors import UserError
from ai102.judging.replay import crowd_size
from ai102.judging.subject import subjects_of
from tests.cli.test_cli import ai102
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
CONTRACT = load(ROOT / "models.toml")
SETS = ROOT / "calibration" / "sets"
MISTAKES = {
    "an unknown model": (["--models", "cats"], "--models names cats, which is no network and no pipeline"),
    "no server": ([], "no Triton answers (Connection refused)"),
    "another protocol": (["--canary", "ftp://x"], "ftp://x"),
    "no metrics": (["--metrics", "http://127.0.0.1:9"], "does not answer"),
    "no process": (["--metrics", "pid:0x"], "no such process runs here"),
    "no token": (["--token-file", "nowhere"], "--token-file: cannot read nowhere"),
    "an empty token": (["--token-file", "/dev/null"], "does not hold one token"),
    "a file for a folder": (["--out", "models.toml"], "--out: models.toml is a file: name a folder"),
    "no address to serve": (["--serve", "here"], '--serve: "here" is no address'),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(name: str) -> None:
    options, words = MISTAKES[name]
    canary = [] if "--canary" in options else ["--canary", f"grpc://127.0.0.1:{free_port()}"]
    done = ai102("release", "judge", "--models", "digits", *canary, *options)
    assert (done.returncode, done.stderr.count("\n"), words in done.stderr) == (2, 1, True), done.stderr


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
        threading.Thread(target=gateway.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{gateway.server_address[1]}"
        done = ai102("release", "judge", "--canary", url, "--models", "digits", "--token-file", str(tmp_path / "token"))
        gateway.shutdown()
    assert (done.returncode, done.stderr.count("\n"), "the token is unknown" in done.stderr) == (2, 1, True), (
        done.stderr
    )


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
    digits = CONTRACT.networks["digits"].model_copy(update={"calibration_set": None, "budget": None})
    without = CONTRACT.model_copy(update={"networks": {"digits": digits}})
    with pytest.raises(UserError, match=r"digits has no calibration_set in models\.toml, so there is no test split"):
        subjects_of(without, SETS, ["digits"])
    with pytest.raises(UserError, match="nothing can be judged by its answers"):
        subjects_of(without, SETS)


@pytest.mark.parametrize(("share", "size"), [(0.01, 4), (0.1, 4), (0.2, 8), (1.0, 16)])
def test_more_traffic_means_more_requests_at_once(share: float, size: int) -> None:
    assert crowd_size(share) == size
