from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ai102 import contract
from ai102.contract import Budget
from ai102.int8 import judge
from ai102.samples.read import Samples

CONTRACT = contract.load(Path(__file__).parents[2] / "models.toml")


def scores(best: list[int]) -> NDArray[np.float32]:
    return np.eye(10, dtype=np.float32)[best]


def images(labels: list[int]) -> Samples:
    return Samples(tuple(b"" for _ in labels), tuple(labels), "0" * 64)


TRUTH = [i % 10 for i in range(200)]


@pytest.mark.parametrize(
    ("fp32_wrong", "int8_wrong", "complaints"),
    [
        (0, 0, ()),
        (3, 3, ()),
        (3, 2, ()),
        (0, 2, ("INT8 top-1 drops by 1.00 points, allowed are 0.3",)),
        (4, 4, ("FP32 top-1 is 98.00 %, wanted at least 98.5 %",)),
    ],
)
def test_a_classifier_is_held_to_its_budget(fp32_wrong: int, int8_wrong: int, complaints: tuple[str, ...]) -> None:
    def with_wrong(count: int) -> NDArray[np.float32]:
        return scores([(label + 1) % 10 if i < count else label for i, label in enumerate(TRUTH)])

    verdict = judge.compare(CONTRACT.networks["digits"], images(TRUTH), with_wrong(fp32_wrong), with_wrong(int8_wrong))
    assert verdict.complaints == complaints
    assert verdict.passed == (not complaints)
    assert verdict.facts["labels_changed"] == abs(int8_wrong - fp32_wrong)
    assert verdict.facts["top1_drop_points"] == pytest.approx((int8_wrong - fp32_wrong) / 2)
    assert verdict.blames_int8 == (fp32_wrong < 4)


@pytest.mark.parametrize(
    ("lost", "won", "count", "interval"),
    [
        # By hand from Agresti and Min's formula: 12 samples after adding two, cells 4.5 and 1.5 apart.
        (4, 1, 10, (0.25 - 1.959964 * (6 - 9 / 12) ** 0.5 / 12, 0.25 + 1.959964 * (6 - 9 / 12) ** 0.5 / 12)),
        (0, 0, 460, (-1.959964 / 462, 1.959964 / 462)),
    ],
)
def test_the_interval_of_the_drop_is_that_of_paired_proportions(
    lost: int, won: int, count: int, interval: tuple[float, float]
) -> None:
    assert judge.paired_drop_interval(lost, won, count) == pytest.approx(interval)
    low, high = judge.paired_drop_interval(won, lost, count)
    assert (-high, -low) == pytest.approx(interval)


def test_an_answer_that_is_no_number_breaks_every_budget() -> None:
    broken = scores(TRUTH)
    broken[7] = np.nan
    network = CONTRACT.networks["digits"]
    verdict = judge.compare(network, images(TRUTH), scores(TRUTH), broken)
    assert (verdict.complaints, verdict.blames_int8) == (
        ("INT8 answers 1 of 200 samples with NaN or infinity",),
        True,
    )
    assert not judge.compare(network, images(TRUTH), broken, scores(TRUTH)).blames_int8


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        ({"min_mean_cosine": 0.9999}, "INT8 mean cosine to FP32 is 0.99"),
        ({"min_cosine": 0.9999}, "INT8 least cosine to FP32 is 0.99"),
        ({"min_nearest_neighbour_percent": 100}, "INT8 agrees on the nearest neighbour of"),
    ],
)
def test_each_bound_on_an_embedder_is_held(bound: dict[str, float], words: str) -> None:
    random = np.random.default_rng(1)
    reference = random.normal(size=(200, 64)).astype(np.float32)
    candidate = reference + 0.08 * random.normal(size=reference.shape).astype(np.float32)
    network = CONTRACT.networks["minilm"].model_copy(update={"budget": Budget.model_validate(bound)})
    (complaint,) = judge.compare(network, Samples((b"x",) * 200, (), ""), reference, candidate).complaints
    assert complaint.startswith(words)


@pytest.mark.parametrize(("noise", "passed"), [(0.0, True), (0.0005, True), (0.05, False)])
def test_an_embedder_is_held_to_its_budget(noise: float, passed: bool) -> None:
    random = np.random.default_rng(1)
    reference = random.normal(size=(50, 384)).astype(np.float32)
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)
    candidate = reference + noise * random.normal(size=reference.shape).astype(np.float32)
    texts = Samples(tuple(b"x" for _ in reference), (), "0" * 64)
    verdict = judge.compare(CONTRACT.networks["minilm"], texts, reference, candidate)
    assert verdict.passed == passed
    assert verdict.facts["mean_cosine"] >= verdict.facts["min_cosine"]


def test_outputs_come_back_in_the_order_of_the_items_whatever_their_shapes() -> None:
    seen: list[tuple[int, ...]] = []

    def run(tensors: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        seen.append(tensors["pixels"].shape)
        return tensors["pixels"].reshape(len(tensors["pixels"]), -1).astype(np.float32)

    samples = spec_samples()
    rows = judge.outputs(run, CONTRACT.networks["digits"], samples.items, None)
    alone = [judge.outputs(run, CONTRACT.networks["digits"], [item], None)[0] for item in samples.items[:3]]
    assert rows.shape == (200, 64)
    assert np.array_equal(rows[:3], np.stack(alone))
    assert seen[0] == (32, 1, 8, 8)


def spec_samples() -> Samples:
    from ai102.samples.read import read_samples

    return read_samples(Path(__file__).parents[2] / "calibration" / "sets", "digits", "calibration")


@pytest.mark.parametrize(("wrong", "complaints"), [(2, 0), (3, 1)])
def test_tokens_are_judged_by_how_many_keep_their_label(wrong: int, complaints: int) -> None:
    network = CONTRACT.networks["minilm"].model_copy(
        update={"task": "token-classification", "budget": Budget(min_token_agreement_percent=99)}
    )
    reference, candidate = scores(TRUTH), scores([9 - label for label in TRUTH[:wrong]] + TRUTH[wrong:])
    verdict = judge.compare(network, images([]), reference, candidate)
    assert (len(verdict.complaints), verdict.facts) == (complaints, {"token_agreement_percent": 100 - wrong / 2})


def test_without_labels_int8_is_judged_by_the_answers_it_changes() -> None:
    network = CONTRACT.networks["digits"].model_copy(update={"budget": Budget(max_top1_drop_points=0.5)})
    verdict = judge.compare(network, images([]), scores(TRUTH), scores([1, 0, *TRUTH[2:]]))
    assert verdict.complaints == ("INT8 top-1 drops by 1.00 points, allowed are 0.5",)
