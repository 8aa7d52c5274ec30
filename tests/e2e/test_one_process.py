"""An ensemble in one process answers as its steps in sequence, and a bad request fails alone."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ai102.client import Client, InferenceError, bytes_array
from ai102.samples.read import read_samples
from tests.servers import Server

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parent.parent.parent
IMAGES = read_samples(ROOT / "calibration" / "sets", "digits", "test").items[:40]
TEXTS = read_samples(ROOT / "calibration" / "sets", "minilm", "test").items[:24]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A server over the reference models, which also has the steps of each ensemble as separate models."""
    server = Server(ROOT / "model_repository", http_port=0, grpc_port=0, metrics_port=0)
    with server, Client(f"grpc://{server.grpc_url}") as client:
        yield client


def test_images_get_the_scores_of_the_steps_alone_or_many_at_once(client: Client) -> None:
    pixels = client.infer("digits_decode", {"image": bytes_array(IMAGES)})
    scores = client.infer("digits_int8", {"pixels": pixels["pixels"]})["scores"]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda item: client.infer("score_image", {"image": bytes_array([item])}), IMAGES))
    np.testing.assert_allclose(np.concatenate([one["scores"] for one in answers]), scores, atol=1e-6)
    np.testing.assert_allclose(client.infer("score_image", {"image": bytes_array(IMAGES)})["scores"], scores, atol=1e-6)


def test_texts_of_all_lengths_get_the_embeddings_of_the_steps(client: Client) -> None:
    expected = []
    for text in TEXTS:
        tokens = client.infer("minilm_tokenize", {"text": bytes_array([text])})
        inputs = {name: tokens[name] for name in ("input_ids", "attention_mask")}
        expected.append(client.infer("minilm_int8", inputs)["sentence_embedding"])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda text: client.infer("embed_text", {"text": bytes_array([text])}), TEXTS))
    # Texts of one padded length run as one batch, whose sums have another order.
    np.testing.assert_allclose(
        np.concatenate([one["sentence_embedding"] for one in answers]), np.concatenate(expected), atol=2e-2
    )
    assert {bool(one["truncated"].item()) for one in answers} == {False}


def test_a_bad_image_is_refused_and_the_others_of_its_batch_are_answered(client: Client) -> None:
    items = [*IMAGES[:7], b"no image", *IMAGES[7:14]]

    def label(item: bytes) -> str:
        try:
            return str(client.infer("classify_image", {"image": bytes_array([item])})["label"].item())
        except InferenceError as err:
            return err.status

    with ThreadPoolExecutor(15) as pool:
        answers = list(pool.map(label, items))
    assert answers[7] == "INVALID_ARGUMENT"
    assert answers[:7] + answers[8:] == [label(item) for item in IMAGES[:14]]
    assert "INVALID_ARGUMENT" not in answers[:7] + answers[8:]
