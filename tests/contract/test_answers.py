"""Which ensembles of a contract the API uses."""

from pathlib import Path

import pytest

from ai102 import contract as spec
from ai102.contract.answers import Asked, Classifier, Embedder, Scores, asked_from_contract
from ai102.errors import UserError

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "models.toml").read_text(encoding="utf-8")
LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SCORES = Scores("score_image", "image", "scores", LABELS)
EMBEDDER = Embedder("embed_text", "text", "sentence_embedding", "truncated", 384)
NO_SCORES = """
[ensembles.score_image]
steps = ["digits_decode", "digits_int8"]
inputs = ["image"]
outputs = ["scores"]
goals = { success_percent = 99.9, p99_ms = 100.0 }
"""


def contract(text: str = TEXT) -> spec.Contract:
    return spec.contract_from_text(text, Path("models.toml"))


def test_the_first_of_each_kind_is_used_and_scores_come_from_the_ensemble_over_the_same_network() -> None:
    classifier = Classifier("classify_image", "image", "label", "score", LABELS, SCORES)
    assert asked_from_contract(contract()) == Asked(classifier, EMBEDDER)


def test_an_ensemble_of_scores_alone_can_be_named() -> None:
    ensembles = asked_from_contract(contract(), classify="score_image")
    assert ensembles.classifier == Classifier("score_image", "image", "", "", LABELS, SCORES)


def test_without_scores_only_the_best_label_is_returned() -> None:
    ensembles = asked_from_contract(contract(TEXT.replace(NO_SCORES, "")))
    assert ensembles.classifier is not None
    assert (ensembles.classifier.scores, ensembles.classifier.max_top) == (None, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"classify": "embed_text"},
            '--classify is "embed_text", no ensemble that takes an encoded image and gives label and score, or scores; '
            "of that kind: classify_image, score_image, classify_image_steps",
        ),
        (
            {"embed": "x"},
            '--embed is "x", no ensemble that takes a text and gives an embedding; '
            "of that kind: embed_text, embed_text_steps",
        ),
    ],
)
def test_a_name_of_another_kind_is_refused(options: dict[str, str], said: str) -> None:
    with pytest.raises(UserError) as err:
        asked_from_contract(contract(), **options)
    assert str(err.value) == said


def test_a_contract_without_such_ensembles_is_refused() -> None:
    with pytest.raises(UserError, match="no ensemble takes an image and gives labels"):
        asked_from_contract(contract(TEXT.partition("[ensembles")[0]))
