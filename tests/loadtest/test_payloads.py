"""Requests and expected answers."""

from pathlib import Path

import numpy as np
import pytest

from ai102.client import bytes_array
from ai102.errors import UserError
from loadtest.payloads import Pipelines, Sample, is_right, size_of, targets

ROOT = Path(__file__).parent.parent.parent
CONTRACT = ROOT / "models.toml"
VECTOR = np.eye(1, 384, dtype=np.float32)


def test_targets_follow_from_the_contract() -> None:
    images, texts = targets(CONTRACT, "mixed", (), 20)
    assert (images.model, images.input, images.p99_goal_ms) == ("classify_image", "image", 20.0)
    assert (texts.model, texts.input, texts.p99_goal_ms) == ("embed_text", "text", 100.0)
    assert len(images.payloads) == len(texts.payloads) == 20
    assert {payload.data[:4] for payload in images.payloads} == {b"\x89PNG"}
    assert {payload.label for payload in images.payloads} <= {
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"
    }  # fmt: skip
    assert {payload.label for payload in texts.payloads} == {None}


def test_what_and_models_choose() -> None:
    assert [target.model for target in targets(CONTRACT, "text", (), 1)] == ["embed_text"]
    assert [target.model for target in targets(CONTRACT, "mixed", ("score_image",), 1)] == ["score_image"]


@pytest.mark.parametrize(
    ("pipelines", "models"),
    [
        ("preferred", ["classify_image", "embed_text"]),
        ("steps", ["classify_image_steps", "embed_text_steps"]),
        ("both", ["classify_image", "classify_image_steps", "embed_text", "embed_text_steps"]),
    ],
)
def test_either_form_of_a_pipeline_can_get_load(pipelines: Pipelines, models: list[str]) -> None:
    assert [target.model for target in targets(CONTRACT, "mixed", (), 1, pipelines)] == models


def test_a_contract_with_nothing_to_send_is_refused(tmp_path: Path) -> None:
    without = CONTRACT.read_text().partition("[ensembles.embed_text]")[0]
    (tmp_path / "models.toml").write_text(without)
    with pytest.raises(UserError, match="has no ensemble that takes texts and has a calibration_set"):
        targets(tmp_path / "models.toml", "text", (), 1)


@pytest.mark.parametrize(
    ("expected", "actual", "right"),
    [
        (bytes_array([b"one"]), bytes_array([b"one"]), True),
        (bytes_array([b"one"]), bytes_array([b"two"]), False),
        (VECTOR, VECTOR + np.float32(1e-4), True),
        (VECTOR, np.roll(VECTOR, 1), False),
        (VECTOR, VECTOR * np.float32(np.nan), False),
        (VECTOR, VECTOR[:, :-1], False),
        (np.array([[False]]), np.array([[True]]), False),
    ],
)
def test_an_answer_is_right_when_it_is_that_of_the_idle_server(
    expected: np.ndarray, actual: np.ndarray, right: bool
) -> None:
    assert is_right(Sample({}, {"x": expected}), {"x": actual}) is right


def test_the_size_of_an_answer_is_its_bytes() -> None:
    assert size_of({"label": bytes_array([b"one", b"seven"]), "score": np.zeros((2, 1), np.float32)}) == 8 + 8
