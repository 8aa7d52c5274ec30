"""Sealed payloads through a real server: the same answers, nothing in clear on the way, no request taken twice."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from ai102.client import BadAnswerError, Client, InferenceError, bytes_array
from ai102.samples.read import read_samples
from ai102.seal import key_files
from ai102.serve.server import Server
from ai102_runtime.seal import envelope
from ai102_runtime.seal.keys import KeyFolder

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parent.parent.parent
IMAGES = read_samples(ROOT / "calibration" / "sets", "digits", "test").items[:6]
TEXTS = [item.decode() for item in read_samples(ROOT / "calibration" / "sets", "minilm", "test").items[:3]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sealed")


@pytest.fixture(scope="module")
def servers(home: Path) -> Iterator[list[Server]]:
    """Two replicas that share what they have seen; there are no keys yet."""
    environment = pytest.MonkeyPatch()
    environment.setenv("AI102_SEAL_KEYS", str(home / "keys"))
    environment.setenv("AI102_SEAL_SEEN", str(home / "seen.sqlite"))
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
    """Made while the servers run."""
    with Client(f"grpc://{servers[0].grpc_url}") as client, pytest.raises(InferenceError, match="no keys") as caught:
        client.infer("sealed_embed_text", {"envelope": bytes_array([b"x"])}, timeout_s=2)
    assert caught.value.status == "UNAVAILABLE"
    key_files.new(home / "keys", "first", datetime.now(UTC))
    return KeyFolder(home / "keys")


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_sealed_answers_are_those_of_the_open_way(protocol: str, keys: KeyFolder, servers: list[Server]) -> None:
    url = f"{protocol}://{getattr(servers[0], f'{protocol}_url')}"
    with Client(url, seal=keys) as sealed, Client(url) as plain:
        assert sealed.classify(IMAGES) == plain.classify(IMAGES)
        np.testing.assert_allclose(sealed.embed(TEXTS), plain.embed(TEXTS), atol=2e-2)


def test_a_request_opens_once_at_whatever_replica(keys: KeyFolder, servers: list[Server]) -> None:
    sealed = envelope.seal_request(keys.active, b"", "sealed_embed_text", time.time_ns() // 1_000_000)
    asked = {"envelope": bytes_array([sealed.envelope])}
    said = []
    for server in (servers[0], servers[1], servers[0]):
        with Client(f"grpc://{server.grpc_url}") as client, pytest.raises(InferenceError) as caught:
            client.infer("sealed_embed_text", asked)
        said.append((caught.value.status, str(caught.value)))
    # The first is refused too, for it holds no tensors, and in the same words: the caller learns nothing of why.
    assert {(status, envelope.OUTSIDE in words) for status, words in said} == {("INVALID_ARGUMENT", True)}


@pytest.mark.parametrize("change", ["altered", "other_model", "old", "other_key"])
def test_what_is_not_whole_fresh_and_meant_for_the_model_is_refused(
    change: str, keys: KeyFolder, servers: list[Server]
) -> None:
    now, model, key = time.time_ns() // 1_000_000, "sealed_embed_text", keys.active
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
        # The server looks once a second: until then it does not know the key.
        while True:
            try:
                labels = client.classify(IMAGES)
                break
            except InferenceError:
                assert time.monotonic() < deadline
    assert len(labels) == len(IMAGES)


def test_an_answer_that_cannot_be_opened_is_an_error_of_its_own(servers: list[Server], keys: KeyFolder) -> None:
    from ai102.client.calls import Answer, Infer
    from ai102.client.sealing import Sealed
    from ai102.client.tensors import raw_from_array

    call = Sealed(keys, Infer("embed_text", (raw_from_array("text", bytes_array([b"hi"])),)))
    asked = call._request()
    with pytest.raises(BadAnswerError, match="was not opened"):
        call._opened(Answer("sealed_embed_text", "1", "", {"envelope": asked.tensors[0]}))


def test_the_log_holds_no_payload(home: Path, keys: KeyFolder, servers: list[Server]) -> None:
    with Client(f"grpc://{servers[0].grpc_url}", seal=keys) as client:
        client.embed(["a secret that nobody logs"])
    log = (home / "log").read_text(encoding="utf-8", errors="replace")
    assert "sealed request refused (tag:" in log
    assert "nobody logs" not in log
