"""Sealed payloads through a real server: the same answers, nothing in clear on the way, no request accepted twice."""

import http.client
import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from ai102.client import BadAnswerError, BusyError, Client, InferenceError, bytes_array
from ai102.samples.read import read_samples
from ai102.seal import key_files
from ai102_runtime.seal import envelope, failures
from ai102_runtime.seal.keys import KeyFolder
from tests.servers import Server

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parent.parent.parent
IMAGES = read_samples(ROOT / "calibration" / "sets", "digits", "test").items[:6]
TEXTS = [item.decode() for item in read_samples(ROOT / "calibration" / "sets", "minilm", "test").items[:3]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sealed")


@pytest.fixture(scope="module")
def servers(home: Path) -> Iterator[list[Server]]:
    """Two replicas with a shared replay memory; there are no keys yet."""
    environment = pytest.MonkeyPatch()
    environment.setenv("AI102_SEAL_KEYS", str(home / "keys"))
    environment.setenv("AI102_SEAL_SEEN", str(home / "seen"))
    free = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}
    models = ["sealed_classify_image", "sealed_embed_text", "classify_image", "embed_text"]
    repository = ROOT / "model_repository"
    log = home / "log"
    with (
        Server(repository, models=models, log=log, **free) as first,
        Server(repository, models=models, **free) as other,
    ):
        yield [first, other]
    environment.undo()


@pytest.fixture(scope="module")
def keys(home: Path, servers: list[Server]) -> KeyFolder:
    """Keys that are created while the servers run."""
    with Client(f"grpc://{servers[0].grpc_url}") as client, pytest.raises(InferenceError, match="no keys") as caught:
        client.infer("sealed_embed_text", {"envelope": bytes_array([b"x"])}, timeout_s=2)
    assert caught.value.status == "UNAVAILABLE"
    key_files.new(home / "keys", "first", datetime.now(UTC))
    return KeyFolder(home / "keys")


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_sealed_answers_equal_unsealed_ones(protocol: str, keys: KeyFolder, servers: list[Server]) -> None:
    url = f"{protocol}://{getattr(servers[0], f'{protocol}_url')}"
    with Client(url, seal=keys) as sealed, Client(url) as plain:
        assert sealed.classify(IMAGES) == plain.classify(IMAGES)
        np.testing.assert_allclose(sealed.embed(TEXTS), plain.embed(TEXTS), atol=2e-2)


def test_a_request_is_accepted_once_by_all_replicas(keys: KeyFolder, servers: list[Server]) -> None:
    sealed = envelope.seal_request(keys.active, b"", "sealed_embed_text", now_ms())
    request = {"envelope": bytes_array([sealed.envelope])}
    errors = []
    for server in (servers[0], servers[1], servers[0]):
        with Client(f"grpc://{server.grpc_url}") as client, pytest.raises(InferenceError) as caught:
            client.infer("sealed_embed_text", request)
        errors.append(caught.value)
    # The first was decrypted, so its error goes only to its caller; the others were not decrypted.
    sentence = failures.sentence_from_text(keys.active, sealed.head, str(errors[0]), now_ms())
    assert (errors[0].status, sentence) == ("INVALID_ARGUMENT", "4 bytes announced at 0, 0 there")
    assert {(err.status, envelope.OUTSIDE in str(err)) for err in errors[1:]} == {("INVALID_ARGUMENT", True)}


WRONG = {
    "not valid UTF-8": {"text": bytes_array([b"ok", b"a text of nobody's business \xff"])},
    "of another type": {"text": np.zeros((1, 1), np.float32)},
    "of another shape": {"text": np.array([[b"a", b"b"]], np.object_)},
    "of another name": {"texts": bytes_array([b"a"])},
}


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("name", WRONG)
def test_an_error_of_the_model_equals_the_unsealed_one_and_only_the_caller_reads_it(
    name: str, protocol: str, keys: KeyFolder, servers: list[Server]
) -> None:
    url = f"{protocol}://{getattr(servers[0], f'{protocol}_url')}"
    errors = []
    for seal in (keys, None):
        with Client(url, seal=seal) as client, pytest.raises(InferenceError) as caught:
            client.infer("embed_text", WRONG[name])
        errors.append(caught.value)
    sealed, plain = errors
    assert (type(sealed), sealed.status, sealed.model) == (type(plain), plain.status, plain.model)
    assert without_request_id(str(sealed)) == without_request_id(str(plain))
    # Only the transport's error went over the network, where a proxy could read it.
    on_the_wire = str(sealed.__cause__)
    assert failures.INTRODUCTION in on_the_wire
    assert not re.search(r"UTF|FP32|shape|texts|batch|business", on_the_wire)


def without_request_id(sentence: str) -> str:
    return re.sub(r"\[request id: [^]]*\] ", "", sentence)


@pytest.mark.parametrize("change", ["altered", "other_model", "old", "other_key"])
def test_an_altered_old_or_misdirected_request_is_refused(change: str, keys: KeyFolder, servers: list[Server]) -> None:
    now, model, key = now_ms(), "sealed_embed_text", keys.active
    if change == "old":
        now -= 10 * envelope.WINDOW_MS
    if change == "other_model":
        model = "sealed_classify_image"
    if change == "other_key":
        key = envelope.Key(key.id, bytes(32))
    whole = envelope.seal_request(key, b"", model, now).envelope
    sent = whole[:-1] + bytes([whole[-1] ^ 1]) if change == "altered" else whole
    with Client(f"grpc://{servers[0].grpc_url}") as client, pytest.raises(InferenceError) as caught:
        client.infer("sealed_embed_text", {"envelope": bytes_array([sent])})
    assert (caught.value.status, envelope.OUTSIDE in str(caught.value)) == ("INVALID_ARGUMENT", True)


def test_keys_rotate_while_server_and_client_run(home: Path, keys: KeyFolder, servers: list[Server]) -> None:
    with Client(f"grpc://{servers[0].grpc_url}", seal=keys) as client:
        client.classify(IMAGES)
        key_files.new(home / "keys", "second", datetime.now(UTC))
        key_files.rotate(home / "keys", "second", "", datetime.now(UTC))
        deadline = time.monotonic() + 5
        while keys.active.id != "second":
            assert time.monotonic() < deadline
            client.classify(IMAGES)
        # The server reads the keys once per second: until then it does not know the key.
        while True:
            try:
                labels = client.classify(IMAGES)
                break
            except InferenceError:
                assert time.monotonic() < deadline
    assert len(labels) == len(IMAGES)


class Altering(BaseHTTPRequestHandler):
    """Forwards requests to the server at `upstream`, and changes the last byte of each answer."""

    protocol_version = "HTTP/1.1"
    upstream = ""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        connection = http.client.HTTPConnection(self.upstream, timeout=30)
        connection.request("POST", self.path, body, dict(self.headers))
        response = connection.getresponse()
        content = bytearray(response.read())
        connection.close()
        place = content.rindex(b'"}') - 1 if response.status >= 400 else len(content) - 1
        content[place] = ord("A") if content[place] != ord("A") else ord("B")
        self.send_response(response.status)
        for name, value in response.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("text", [b"hi", b"\xff"], ids=["an answer", "an error"])
def test_what_a_proxy_altered_is_an_error_of_its_own(text: bytes, servers: list[Server], keys: KeyFolder) -> None:
    handler = type("Handler", (Altering,), {"upstream": servers[0].http_url})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True).start()
        try:
            with (
                Client(f"http://127.0.0.1:{proxy.server_port}", seal=keys) as client,
                pytest.raises(BadAnswerError, match=r"was not opened \(altered, or another key is called"),
            ):
                client.infer("embed_text", {"text": bytes_array([text])})
        finally:
            proxy.shutdown()


def test_the_log_holds_no_payload(home: Path, keys: KeyFolder, servers: list[Server]) -> None:
    with Client(f"grpc://{servers[0].grpc_url}", seal=keys) as client:
        client.embed(["a secret that nobody logs"])
    log = (home / "log").read_text(encoding="utf-8", errors="replace")
    assert "sealed request refused (tag:" in log
    assert "nobody logs" not in log
    assert "UTF-8" not in log  # nor what was wrong with one


def test_a_replay_memory_that_another_user_broke_is_one_line_and_does_not_stop_the_server(
    tmp_path: Path, keys: KeyFolder, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    seen.write_text("created by another user")
    monkeypatch.setenv("AI102_SEAL_KEYS", str(home / "keys"))
    monkeypatch.setenv("AI102_SEAL_SEEN", str(seen))
    free = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}
    models = ["sealed_embed_text", "embed_text"]
    with Server(ROOT / "model_repository", models=models, log=tmp_path / "log", **free) as server:
        url = f"grpc://{server.grpc_url}"
        with Client(url, seal=keys) as sealed, Client(url) as plain:
            assert plain.embed(TEXTS).shape == (len(TEXTS), 384)
            with pytest.raises(BusyError, match="cannot remember sealed requests now"):
                sealed.infer("embed_text", {"text": bytes_array([b"hi"])}, timeout_s=1)
            seen.unlink()
            assert sealed.embed(TEXTS).shape == (len(TEXTS), 384)
    lines = [line for line in (tmp_path / "log").read_text(encoding="utf-8").splitlines() if str(seen) in line]
    assert [line.partition(f"{seen}: ")[2].rstrip('"') for line in lines] == [
        "not a folder: remove it; another place can be named by AI102_SEAL_SEEN"
    ]


def now_ms() -> int:
    return time.time_ns() // 1_000_000
