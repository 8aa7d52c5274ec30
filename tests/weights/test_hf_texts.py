"""Texts through a checkpoint's served network give the results of transformers' pipelines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from ai102 import contract as spec
from ai102.contract import Network
from ai102.errors import UserError
from ai102.samples.read import tensors_of_items
from ai102_runtime.transforms.scores import token_labels
from ai102_runtime.transforms.texts import TextEncoder
from tests.weights import checkpoints
from tests.weights.served import answers, exported_answers, proposed, source_of

pytestmark = [pytest.mark.slow, pytest.mark.imports]

TEXTS = (
    "The train to the coast leaves at nine.",
    "Never again: slow, rude and twice the price.",
    "Ada Lovelace wrote to Charles Babbage from London in 1843. Ada Lovelace wrote to Charles Babbage from London!",
    "ok",
    "Ünïcödé [MASK] 日本  and   tabs\tend ",
)
ITEMS = [text.encode() for text in TEXTS]
CLASSIFIERS = [
    checkpoints.bert_classifier,
    checkpoints.distilbert_classifier,
    checkpoints.roberta_classifier,
]


def by_pipeline(folder: Path) -> NDArray[np.float64]:
    """All scores of each text in the order of the labels."""
    with checkpoints.quiet():
        run = transformers.pipeline("text-classification", model=str(folder), top_k=None)
        rows = [{entry["label"]: entry["score"] for entry in row} for row in run(list(TEXTS))]
    return np.array([[row[label] for label in checkpoints.MOODS] for row in rows])


def tokens_by_pipeline(folder: Path, text: str) -> list[tuple[str, float, int, int]]:
    with checkpoints.quiet():
        run = transformers.pipeline("token-classification", model=str(folder), ignore_labels=[])
        return [(entry["entity"], float(entry["score"]), entry["start"], entry["end"]) for entry in run(text)]


def tokens_served(network: Network, scores: NDArray[np.float32]) -> list[list[tuple[str, float, int, int]]]:
    """The labels that the postprocessing model derives from the scores, without empty entries."""
    file = source_of(network).tokenizer_file
    assert file
    assert network.text
    encoder = TextEncoder(_tokenizer(file), network.text.lengths, network.text.pad_id)
    spans = encoder.tokens_and_spans(TEXTS)[3]
    labels, best = token_labels(scores, spans, [label.encode() for label in network.labels])
    return [
        [
            (label.decode(), float(score), *map(int, span))
            for label, score, span in zip(*row, strict=True)
            if label
        ]
        for row in zip(labels, best, spans, strict=True)
    ]  # fmt: skip


def _tokenizer(file: Path) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(file))


def by_sentence_transformers(folder: Path, pooling: str, *, is_normal: bool) -> NDArray[np.float32]:
    """Embeddings of sentence-transformers' modules, text by text."""
    with checkpoints.quiet():
        tokenizer, net = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in TEXTS:
        with torch.no_grad():
            words = net(**tokenizer(text, return_tensors="pt", truncation=True, max_length=48)).last_hidden_state[0]
        row = {"mean_tokens": words.mean(0), "cls_token": words[0], "max_tokens": words.amax(0)}[pooling]
        rows.append(torch.nn.functional.normalize(row, dim=0) if is_normal else row)
    array: NDArray[np.float32] = torch.stack(rows).numpy()
    return array


@pytest.mark.parametrize("make", CLASSIFIERS)
def test_scores_are_those_of_the_pipeline(make: Callable[..., Path], tmp_path: Path) -> None:
    network = proposed(make(tmp_path), "text-classification")
    expected = by_pipeline(tmp_path)
    assert np.abs(answers(network, ITEMS) - expected).max() < 1e-5
    assert np.ptp(expected, axis=0).max() > 0.1, "the texts have different scores"
    assert network.labels == checkpoints.MOODS
    assert network.text
    assert network.text.model_dump(include={"lengths", "pad_id"}) == {"lengths": (16, 32, 64), "pad_id": 0}


@pytest.mark.parametrize("kind", ["multi_label_classification", "regression"])
def test_scores_are_activated_as_the_pipeline_does(kind: str, tmp_path: Path) -> None:
    network = proposed(checkpoints.bert_classifier(tmp_path, problem_type=kind), "text-classification")
    assert np.abs(answers(network, ITEMS) - by_pipeline(tmp_path)).max() < 1e-5


def test_a_single_score_is_a_sigmoid_as_the_pipeline_has_it(tmp_path: Path) -> None:
    network = proposed(
        checkpoints.bert_classifier(tmp_path, id2label={0: "relevant"}, label2id={"relevant": 0}), "text-classification"
    )
    with checkpoints.quiet():
        run = transformers.pipeline("text-classification", model=str(tmp_path))
        expected = [run(text)[0]["score"] for text in TEXTS]
    assert np.abs(answers(network, ITEMS)[:, 0] - expected).max() < 1e-5
    assert network.labels == ("relevant",)


def test_tokens_are_labelled_as_by_the_pipeline(tmp_path: Path) -> None:
    network = proposed(checkpoints.token_classifier(tmp_path), "token-classification")
    outputs = tokens_served(network, answers(network, ITEMS))
    for text, served in zip(TEXTS, outputs, strict=True):
        expected = tokens_by_pipeline(tmp_path, text)
        assert [(label, start, end) for label, _, start, end in served] == [
            (label, start, end) for label, _, start, end in expected
        ]
        assert [score for _, score, _, _ in served] == pytest.approx([score for _, score, _, _ in expected], abs=1e-5)
    assert len({label for served in outputs for label, *_ in served}) > 1
    assert network.outputs[0].dims == (-1, 5)


@pytest.mark.parametrize("is_normal", [True, False])
@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token", "max_tokens"])
def test_embeddings_are_pooled_as_the_checkpoint_says(pooling: str, is_normal: bool, tmp_path: Path) -> None:
    network = proposed(checkpoints.sentence_embedder(tmp_path, pooling, is_normal=is_normal), "text-embedding")
    expected = by_sentence_transformers(tmp_path, pooling, is_normal=is_normal)
    assert np.abs(answers(network, ITEMS) - expected).max() < 1e-5
    assert network.outputs[0].name == "sentence_embedding"
    assert network.text
    assert network.text.lengths == (16, 32, 48)


def test_without_files_of_sentence_transformers_the_mean_of_length_one_is_served(tmp_path: Path) -> None:
    checkpoints.bert_classifier(tmp_path)
    network = proposed(tmp_path, "text-embedding")
    expected = by_sentence_transformers(tmp_path, "mean_tokens", is_normal=True)
    rows = [0, 1, 3, 4]  # without sentence_bert_config.json nothing cuts the long one at 48 tokens
    assert np.abs(answers(network, ITEMS) - expected)[rows].max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("make", CLASSIFIERS)
def test_the_onnx_file_answers_as_the_pipeline(make: Callable[..., Path], tmp_path: Path) -> None:
    network = proposed(make(tmp_path), "text-classification")
    outputs = exported_answers(network, ITEMS, tmp_path / "x.onnx")
    assert np.abs(outputs - by_pipeline(tmp_path)).max() < 1e-5


@pytest.mark.slow
def test_the_onnx_file_labels_tokens_as_the_pipeline(tmp_path: Path) -> None:
    network = proposed(checkpoints.token_classifier(tmp_path), "token-classification")
    outputs = tokens_served(network, exported_answers(network, ITEMS, tmp_path / "x.onnx"))
    for text, served in zip(TEXTS, outputs, strict=True):
        expected = tokens_by_pipeline(tmp_path, text)
        assert [entry[0] for entry in served] == [entry[0] for entry in expected]
        assert [entry[1:] for entry in served] == [pytest.approx(entry[1:], abs=1e-5) for entry in expected]


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token", "max_tokens"])
def test_the_onnx_file_embeds_as_sentence_transformers(pooling: str, tmp_path: Path) -> None:
    network = proposed(checkpoints.sentence_embedder(tmp_path, pooling), "text-embedding")
    outputs = exported_answers(network, ITEMS, tmp_path / "x.onnx")
    assert np.abs(outputs - by_sentence_transformers(tmp_path, pooling, is_normal=True)).max() < 1e-5


@pytest.mark.slow
def test_the_proposal_for_minilm_is_what_the_contract_says() -> None:
    contract = spec.load(Path(__file__).parent.parent.parent / "models.toml").networks["minilm"]
    outputs = proposed(Path("sentence-transformers/all-MiniLM-L6-v2"), "text-embedding")
    assert outputs.text
    assert contract.text
    same = ("source", "sha256", "task", "inputs", "outputs", "labels")
    assert outputs.model_dump(include=set(same)) == contract.model_dump(include=set(same))
    assert (outputs.text.lengths, outputs.text.pad_id) == (contract.text.lengths, 0)


def test_positions_before_the_padding_offset_are_not_counted(tmp_path: Path) -> None:
    checkpoints.roberta_classifier(tmp_path)
    checkpoints.change(tmp_path / "tokenizer_config.json", model_max_length=10**30)
    text = proposed(tmp_path, "text-classification").text
    assert text
    assert text.lengths == (16, 32, 64)
    assert tensors_of_items(proposed(tmp_path, "text-classification"), [b"a " * 99], tmp_path / "tokenizer.json")[
        "input_ids"
    ].shape == (1, 64)


def test_a_tokenizer_that_pads_and_truncates_by_itself_changes_nothing(tmp_path: Path) -> None:
    plain = proposed(checkpoints.bert_classifier(tmp_path), "text-classification")
    before = answers(plain, ITEMS)
    tokenizer = _tokenizer(tmp_path / "tokenizer.json")
    tokenizer.enable_padding(length=40, pad_id=0, pad_token="[PAD]")
    tokenizer.enable_truncation(20)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    network = proposed(tmp_path, "text-classification")
    assert np.abs(answers(network, ITEMS) - before).max() < 1e-6
    assert network == plain.model_copy(update={"sha256": network.sha256})


def test_the_identity_changes_with_the_pooling(tmp_path: Path) -> None:
    network = proposed(checkpoints.sentence_embedder(tmp_path), "text-embedding")
    before = source_of(network).identity
    assert source_of(network).identity == before
    checkpoints.change(tmp_path / "1_Pooling" / "config.json", pooling_mode_cls_token=True)
    assert source_of(network).identity != before


def without(*files: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for file in files:
            (folder / file).unlink()

    return remove


def with_keys(file: str, **keys: Any) -> Callable[[Path], None]:
    return lambda folder: checkpoints.change(folder / file, **keys)


def with_text(file: str, text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / file).write_text(text)

    return write


REFUSED_EMBEDDERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "another pooling": (
        with_keys("1_Pooling/config.json", pooling_mode_mean_tokens=False, pooling_mode_mean_sqrt_len_tokens=True),
        "1_Pooling/config.json asks for pooling_mode_mean_sqrt_len_tokens; served are mean, cls, max, one of them",
    ),
    "two poolings": (
        with_keys("1_Pooling/config.json", pooling_mode_cls_token=True),
        "asks for pooling_mode_cls_token and pooling_mode_mean_tokens; served are",
    ),
    "a layer more": (
        with_text(
            "modules.json",
            '[{"path": "", "type": "sentence_transformers.models.Transformer"}, '
            '{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]',
        ),
        "modules.json has a layer Dense, which is not served",
    ),
    "no pooling": (with_text("modules.json", "[]"), "modules.json names no Pooling"),
    "its file": (without("1_Pooling/config.json"), "1_Pooling/config.json is missing in the checkpoint"),
    "a prompt": (
        with_text("config_sentence_transformers.json", '{"prompts": {"q": "query: "}, "default_prompt_name": "q"}'),
        'sentence-transformers puts the prompt "q" before each text',
    ),
    "lower case": (
        lambda folder: (
            with_keys("sentence_bert_config.json", do_lower_case=True)(folder),
            with_keys("tokenizer.json", normalizer=None)(folder),
        )[0],
        "tokenizer.json alone gives other tokens than transformers with the other files",
    ),
}


@pytest.mark.parametrize(("spoil", "words"), REFUSED_EMBEDDERS.values(), ids=REFUSED_EMBEDDERS)
def test_an_embedder_that_cannot_be_served_is_one_line(
    spoil: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    spoil(checkpoints.sentence_embedder(tmp_path))
    with pytest.raises(UserError) as caught:
        proposed(tmp_path, "text-embedding")
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"hf:{tmp_path}: ")
    assert "\n" not in str(caught.value)
