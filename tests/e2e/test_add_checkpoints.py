"""Checkpoints in Hugging Face's format, added in one command and served: answers are transformers' own to 1e-4."""

from collections.abc import Iterator
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from numpy.typing import NDArray
from PIL import Image

from ai102.build import add
from ai102.client import Client, bytes_array
from ai102.weights.source import Wish
from tests.servers import Server
from tests.weights import checkpoints

pytestmark = [pytest.mark.e2e, pytest.mark.imports]

IMAGES = ("resnet", "vit", "convnext")
MAKERS = {
    "resnet": (checkpoints.resnet, "image-classification"),
    "vit": (checkpoints.vit, "image-classification"),
    "convnext": (checkpoints.convnext, "image-classification"),
    "bert": (checkpoints.bert_classifier, "text-classification"),
    "distilbert": (checkpoints.distilbert_classifier, "text-classification"),
    "names": (checkpoints.token_classifier, "token-classification"),
    "embedder": (checkpoints.sentence_embedder, "text-embedding"),
}
TEXTS = (
    "The train to the coast leaves at nine.",
    "Never again: slow, rude and twice the price.",
    "Ada Lovelace wrote to Charles Babbage from London in 1843. " * 3,
    "ok",
)


class Silent:
    def step(self, _title: str) -> Any:
        return nullcontext(lambda done, total: None)

    def say(self, line: str) -> None:
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, (make, task) in MAKERS.items():
        make(folder / name)
        add.add(folder / "models.toml", add.Addition(f"hf:{name}", Wish(name, task)), Silent())
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    with (
        Server(folder / "model_repository", http_port=0, grpc_port=0, metrics_port=0) as server,
        Client(f"grpc://{server.grpc_url}") as client,
    ):
        yield client


def pictures() -> list[bytes]:
    """Images of three sizes and three modes, none of them the network's."""
    random, files = np.random.default_rng(5), []
    for shape, kind in (((90, 120, 3), "PNG"), ((200, 75, 3), "JPEG"), ((64, 64), "PNG")):
        coarse = Image.fromarray(random.integers(0, 256, (6, 6, *shape[2:]), dtype=np.uint8))
        out = BytesIO()
        coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC).save(out, kind)
        files.append(out.getvalue())
    return files


def scores_by_pipeline(task: str, folder: Path, items: list[Any], labels: tuple[str, ...]) -> NDArray[np.float64]:
    with checkpoints.quiet():
        run = transformers.pipeline(task, model=str(folder), **({"top_k": None} if task[0] == "t" else {"top_k": 99}))
        rows = [{entry["label"]: entry["score"] for entry in row} for row in run(items)]
    return np.array([[row[label] for label in labels] for row in rows])


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_network_answers_as_transformers_does(name: str, client: Client, folder: Path) -> None:
    files = pictures()
    opened = [Image.open(BytesIO(file)).convert("RGB") for file in files]
    expected = scores_by_pipeline("image-classification", folder / name, opened, checkpoints.ANIMALS)
    served = client.infer(f"score_{name}", {"image": bytes_array(files)}, ["scores"])["scores"]
    np.testing.assert_allclose(served, expected, atol=1e-4)
    labels = client.classify(files, f"classify_{name}")
    assert [label.label for label in labels] == [checkpoints.ANIMALS[best] for best in expected.argmax(axis=1)]
    np.testing.assert_allclose([label.score for label in labels], expected.max(axis=1), atol=1e-4)


@pytest.mark.parametrize("name", ["bert", "distilbert"])
def test_a_text_network_answers_as_transformers_does(name: str, client: Client, folder: Path) -> None:
    # Truncated to the network's limit, as in the served ensemble; the pipeline would fail on a longer text.
    texts = [text[:180] for text in TEXTS]
    expected = scores_by_pipeline("text-classification", folder / name, texts, checkpoints.MOODS)
    items = bytes_array([text.encode() for text in texts])
    served = client.infer(f"score_{name}", {"text": items}, ["scores"])["scores"]
    np.testing.assert_allclose(served, expected, atol=1e-4)
    labels = client.classify([text.encode() for text in texts], f"classify_{name}")
    assert [label.label for label in labels] == [checkpoints.MOODS[best] for best in expected.argmax(axis=1)]


def test_a_token_network_returns_label_score_and_place_as_transformers_does(client: Client, folder: Path) -> None:
    with checkpoints.quiet():
        run = transformers.pipeline("token-classification", model=str(folder / "names"), ignore_labels=[])
        text = TEXTS[2][:59]
        expected = [(entry["entity"], entry["start"], entry["end"], float(entry["score"])) for entry in run(text)]
    answer = client.infer("tag_names", {"text": bytes_array([text.encode()])})
    label, score, span = (answer[key][0] for key in ("label", "score", "span"))
    served = [(n.decode(), *map(int, s), float(p)) for n, p, s in zip(label, score, span, strict=True) if n]
    assert [entry[:3] for entry in served] == [entry[:3] for entry in expected]
    np.testing.assert_allclose([entry[3] for entry in served], [entry[3] for entry in expected], atol=1e-4)


def test_an_embedder_gives_vectors_of_length_one(client: Client) -> None:
    vectors = client.embed(TEXTS, "embed_embedder")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


def test_a_text_that_is_too_long_says_so(client: Client) -> None:
    answer = client.infer("classify_bert", {"text": bytes_array([b"word " * 500, b"ok"])})
    assert answer["truncated"].reshape(-1).tolist() == [True, False]
