"""The scores by which INT8 is judged, on answers small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ai102.int8.score import cosine_stats, nearest_neighbour_agreement, top1


def test_top1_is_the_share_of_right_rows() -> None:
    assert top1(np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 0, 0])) == pytest.approx(2 / 3)


def test_cosine_stats_are_mean_and_smallest_whatever_the_lengths() -> None:
    reference = np.array([[1.0, 0.0], [0.0, 2.0]])
    candidate = np.array([[5.0, 0.0], [1.0, 1.0]])
    assert cosine_stats(reference, candidate) == pytest.approx(((1 + 0.5**0.5) / 2, 0.5**0.5))


def test_cosine_of_an_answer_with_nan_is_nan() -> None:
    assert np.isnan(cosine_stats(np.eye(2), np.array([[1.0, np.nan], [0.0, 1.0]]))).all()


def test_nearest_neighbour_agreement_is_the_share_that_keep_theirs() -> None:
    angles = np.array([0, 10, 30, 90, 95])
    moved = np.array([0, 10, 18, 90, 95])  # the third now draws the second away from the first

    def on_circle(degrees: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        return np.stack([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))], axis=1)

    assert nearest_neighbour_agreement(on_circle(angles), on_circle(moved)) == pytest.approx(4 / 5)
    assert nearest_neighbour_agreement(on_circle(angles), 7 * on_circle(angles)) == 1


@pytest.mark.parametrize("other", [np.eye(3), np.ones((2, 3)), np.zeros((2, 2)), np.ones(2)])
def test_answers_that_cannot_be_compared_are_refused(other: np.ndarray) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match="same shape"):
        cosine_stats(np.eye(2), other)
    with pytest.raises(ValueError, match="same shape"):
        nearest_neighbour_agreement(np.eye(2), other)


def test_scores_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="0 rows"):
        top1(np.empty((0, 3)), np.empty(0, dtype=np.int64))
    with pytest.raises(ValueError, match="no neighbours"):
        nearest_neighbour_agreement(np.ones((1, 3)), np.ones((1, 3)))
