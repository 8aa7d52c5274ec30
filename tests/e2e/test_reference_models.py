"""The repository as it is served: every model, both protocols, good and bad input."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from queue import Queue
from time import monotonic
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from PIL import Image

from ai102.client import Client, InferenceError, bytes_array
from ai102.samples import read
from tests.servers import Server

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parent.parent.parent
DIGITS = read.read_samples(ROOT / "calibration" / "sets", "digits", "test")
# Suffixes of a pipeline's name: in one process, and as a Triton ensemble.
FORMS = ("", "_steps")
LABELS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("log") / "tritonserver.log"
    with Server(ROOT / "model_repository", http_port=0, grpc_port=0, metrics_port=0, log=log) as started:
        yield started
        assert started.wait(0) is None, "bad input brought the server down"


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, server: Server) -> Iterator[Client]:
    url = f"http://{server.http_url}" if request.param == "http" else f"grpc://{server.grpc_url}"
    with Client(url) as connected:
        yield connected


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_images_get_their_labels(kind: str, client: Client) -> None:
    right = 0
    for item, label in zip(DIGITS.items[:50], DIGITS.labels[:50], strict=True):
        out = BytesIO()
        Image.open(BytesIO(item)).resize((64, 64), Image.Resampling.NEAREST).convert("RGB").save(out, kind, quality=95)
        answer = client.infer("classify_image", {"image": bytes_array([out.getvalue()])})
        right += answer["label"][0, 0].decode() == LABELS[label]
    assert right >= 49


def test_a_batch_is_answered_in_order(client: Client) -> None:
    answer = client.infer("classify_image", {"image": bytes_array(DIGITS.items[:32])}, ["label"])
    assert list(answer) == ["label"]
    alone = [
        client.infer("classify_image", {"image": bytes_array([item])})["label"][0, 0] for item in DIGITS.items[:32]
    ]
    assert answer["label"][:, 0].tolist() == alone


def test_labels_are_the_same_from_the_label_step_and_from_triton_itself(client: Client) -> None:
    images = DIGITS.items[:70]  # more than a batch
    by_step, by_triton = client.classify(images), client.classify(images, model="score_image")
    assert [one.label for one in by_step] == [one.label for one in by_triton]
    assert [one.score for one in by_step] == pytest.approx([one.score for one in by_triton], abs=1e-5)
    assert sum(one.label == LABELS[label] for one, label in zip(by_step, DIGITS.labels[:70], strict=True)) >= 69


@pytest.mark.parametrize(
    ("model", "sentence"),
    [("embed_text", "has the outputs sentence_embedding, truncated"), ("minilm_int8", "not one alone")],
)
def test_labels_of_a_model_that_is_not_a_classifier_are_refused(model: str, sentence: str, client: Client) -> None:
    with pytest.raises(InferenceError, match=f"^{model}: .*{sentence}.*call infer$"):
        client.classify([b"a text"], model=model)


def test_a_text_becomes_a_vector_of_length_one(client: Client) -> None:
    texts = ["A man is eating food.", "A man eats something.", "The stock market fell."]
    answer = client.infer("embed_text", {"text": bytes_array([text.encode() for text in texts])})
    vectors = answer["sentence_embedding"]
    assert vectors.shape == (3, 384)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-3
    assert vectors[0] @ vectors[1] > 0.7 > 0.3 > vectors[0] @ vectors[2]
    assert not answer["truncated"].any()


def test_a_text_of_100000_words_is_answered_and_reported_as_truncated(client: Client) -> None:
    answer = client.infer("embed_text", {"text": bytes_array([b"word " * 100_000])})
    assert answer["truncated"].tolist() == [[True]]
    assert answer["sentence_embedding"].shape == (1, 384)


@pytest.mark.parametrize("count", [1, 8, 64])
def test_a_pipeline_answers_alike_in_one_process_and_as_an_ensemble(count: int, client: Client) -> None:
    images = {"image": bytes_array(DIGITS.items[:count])}
    whole, steps = (client.infer(f"classify_image{form}", images) for form in FORMS)
    assert whole["label"].tolist() == steps["label"].tolist()
    np.testing.assert_allclose(whole["score"], steps["score"], atol=1e-6)


def test_a_text_gets_the_same_embedding_in_one_process_and_from_an_ensemble(client: Client) -> None:
    for text in ("A man is eating food.", "word " * 200, "word " * 10_000, "\u4f60\u597d"):
        whole, steps = (client.infer(f"embed_text{form}", {"text": bytes_array([text.encode()])}) for form in FORMS)
        np.testing.assert_allclose(whole["sentence_embedding"], steps["sentence_embedding"], atol=1e-6)
        assert whole["truncated"].tolist() == steps["truncated"].tolist()


PNG = DIGITS.items[0]
BOMB = BytesIO()
Image.new("1", (14_000, 14_000)).save(BOMB, "PNG")
PIXELS = np.zeros((1, 1, 8, 8), np.uint8)
# model, inputs, words of the answer
REFUSED: dict[str, tuple[str, dict[str, np.ndarray[Any, Any]], str]] = {
    "wrong shape": ("digits_int8", {"pixels": np.zeros((1, 2, 8, 8), np.uint8)}, "Expected [-1,1,8,8], got [1,2,8,8]"),
    "no batch dimension": ("digits_int8", {"pixels": PIXELS[0]}, "Expected [-1,1,8,8], got [1,8,8]"),
    "wrong type": ("digits_int8", {"pixels": PIXELS.astype(np.float32)}, "is 'FP32', but model 'digits_int8' expects"),
    "wrong name": ("digits_int8", {"pixel": PIXELS}, "unexpected inference input 'pixel' for model 'digits_int8'"),
    "token that does not exist": (
        "minilm_int8",
        {"input_ids": np.full((1, 16), 99_999), "attention_mask": np.ones((1, 16), np.int64)},
        "out of data bounds",
    ),
    "inputs of two lengths": (
        "minilm_int8",
        {"input_ids": np.ones((1, 16), np.int64), "attention_mask": np.ones((1, 8), np.int64)},
        "minilm_int8",
    ),
    "empty image": ("classify_image", {"image": bytes_array([b""])}, "the image is empty (0 bytes): send"),
    "text named .png": ("classify_image", {"image": bytes_array([b"just text"])}, "not a PNG or JPEG image: send"),
    "truncated image": ("classify_image", {"image": bytes_array([PNG[:-30]])}, "truncated or corrupt: send the whole"),
    "decompression bomb": ("classify_image", {"image": bytes_array([BOMB.getvalue()])}, "scale it down before sending"),
    "one bad of three": ("classify_image", {"image": bytes_array([PNG, b"x", PNG])}, "image 2 of 3: these 1 bytes are"),
    "empty text": ("embed_text", {"text": bytes_array([b""])}, "the text is empty: send at least one word"),
    "invalid UTF-8": ("embed_text", {"text": bytes_array([b"ab\xff"])}, "not valid UTF-8 (byte 2): encode it as UTF-8"),
}

# What one form of a pipeline refuses, the other refuses in the same words.
REFUSED |= {
    f"{case}, ensemble": (f"{model}_steps", inputs, words)
    for case, (model, inputs, words) in REFUSED.items()
    if model in ("classify_image", "embed_text")
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_sentence(case: str, client: Client) -> None:
    model, inputs, words = REFUSED[case]
    with pytest.raises(InferenceError) as caught:
        client.infer(model, inputs)
    assert words in str(caught.value)
    assert caught.value.status in ("400", "INVALID_ARGUMENT")
    assert not any(mark in str(caught.value) for mark in ("Traceback", ".py", str(ROOT), "/onnxruntime", "\n"))


@pytest.mark.parametrize("form", FORMS)
def test_requests_batched_with_bad_ones_get_their_answers(form: str, server: Server) -> None:
    good = [*DIGITS.items[:40]]
    items = [item for pair in zip(good, [b"", b"junk", PNG[:50], b"x"] * 10, strict=True) for item in pair]

    def ask(item: bytes) -> bytes | str:
        with Client(f"grpc://{server.grpc_url}") as own:
            try:
                label: bytes = own.infer(f"classify_image{form}", {"image": bytes_array([item])})["label"][0, 0]
            except InferenceError as err:
                return err.status
        return label

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, items))
    assert answers[1::2] == ["INVALID_ARGUMENT"] * 40
    assert [LABELS.index(label.decode()) for label in answers[0::2] if isinstance(label, bytes)] == [
        LABELS.index(ask(item).decode())
        for item in good  # type: ignore[union-attr]
    ]


def test_concurrent_requests_form_batches(server: Server) -> None:
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as grpc:

        def executions() -> tuple[int, int]:
            (stats,) = grpc.get_inference_statistics("embed_text").model_stats
            return stats.inference_count, stats.execution_count

        def ask_at_once(rows: int) -> None:
            answers: Queue[tritonclient.utils.InferenceServerException | None] = Queue()
            for number in range(rows):
                given = tritonclient.grpc.InferInput("text", [1, 1], "BYTES")
                given.set_data_from_numpy(bytes_array([f"a text of six words, {number}".encode()]))
                grpc.async_infer("embed_text", [given], lambda result, error: answers.put(error), client_timeout=60)
            assert [answers.get(timeout=90) for _ in range(rows)] == [None] * rows

        before = executions()
        asked = inferences = runs = 0
        # A busy machine may bring the requests one by one: then they are asked again.
        deadline = monotonic() + 60
        while inferences == runs and monotonic() < deadline:
            ask_at_once(96)
            asked += 96
            # Triton counts a request after it has answered it.
            while (inferences := executions()[0] - before[0]) < asked and monotonic() < deadline:
                pass
            runs = executions()[1] - before[1]
    assert inferences == asked
    assert runs < inferences


@pytest.mark.parametrize("library", [tritonclient.http, tritonclient.grpc])
@pytest.mark.parametrize(
    ("model", "name", "array"),
    [
        ("digits_fp32", "pixels", PIXELS),
        ("digits_int8", "pixels", PIXELS),
        ("score_image", "image", bytes_array([PNG])),
    ],
)
def test_the_classification_extension_names_labels(
    library: Any, model: str, name: str, array: np.ndarray[Any, Any], server: Server
) -> None:
    with library.InferenceServerClient(server.http_url if library is tritonclient.http else server.grpc_url) as triton:
        tensor = library.InferInput(name, list(array.shape), "BYTES" if array.dtype == object else "UINT8")
        tensor.set_data_from_numpy(array)
        answer = triton.infer(model, [tensor], outputs=[library.InferRequestedOutput("scores", class_count=3)])
    rows = [entry.decode().split(":") for entry in answer.as_numpy("scores")[0]]
    assert len(rows) == 3
    assert [LABELS[int(index)] for _, index, _ in rows] == [label for _, _, label in rows]


def test_an_image_client_gets_all_metadata_from_the_server(server: Server) -> None:
    """The metadata that NVIDIA's image client reads first: one image in, with a layout, one row of scores out."""
    with tritonclient.http.InferenceServerClient(server.http_url) as triton:
        metadata, config = triton.get_model_metadata("digits_int8"), triton.get_model_config("digits_int8")
    assert [(t["name"], t["datatype"], t["shape"]) for t in metadata["inputs"]] == [("pixels", "UINT8", [-1, 1, 8, 8])]
    assert [(t["name"], t["datatype"], t["shape"]) for t in metadata["outputs"]] == [("scores", "FP32", [-1, 10])]
    assert config["input"][0]["format"] == "FORMAT_NCHW"
    assert config["max_batch_size"] == 64


@pytest.mark.parametrize("form", FORMS)
def test_any_choice_of_outputs_is_answered(form: str, client: Client) -> None:
    for outputs in (["label"], ["score"], ["label", "score"], ["score", "label"]):
        assert list(client.infer(f"classify_image{form}", {"image": bytes_array([PNG])}, outputs)) == outputs


def test_an_unknown_model_is_not_found(client: Client) -> None:
    with pytest.raises(InferenceError) as caught:
        client.infer("nothing", {"pixels": PIXELS})
    assert caught.value.status in ("404", "NOT_FOUND")


def test_a_server_that_is_not_there_is_one_line() -> None:
    for url in ("http://127.0.0.1:9", "grpc://127.0.0.1:9"):
        with (
            Client(url) as lost,
            pytest.raises(InferenceError, match=r"no Triton answers.*start one with `ai102 serve`"),
        ):
            lost.infer("digits_int8", {"pixels": PIXELS})
