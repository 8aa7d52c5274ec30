"""A network's scores to the label a person reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def top_labels(scores: NDArray[np.float32], labels: Sequence[bytes]) -> tuple[NDArray[np.object_], NDArray[np.float32]]:
    """The best label of each row of scores [rows, labels]: labels as bytes objects [rows, 1], scores [rows, 1]."""
    best = scores.argmax(axis=1)
    names = np.array([[labels[index]] for index in best], dtype=np.object_)
    return names, scores.max(axis=1, keepdims=True)


def token_labels(
    scores: NDArray[np.float32], spans: NDArray[np.int32], labels: Sequence[bytes]
) -> tuple[NDArray[np.object_], NDArray[np.float32]]:
    """The best label of each token of scores [texts, tokens, labels], and its score, both [texts, tokens].

    A token whose span [first, past the last character] is 0, 0 stands for nothing in the text: its label is empty
    and its score 0.
    """
    is_word = (spans != 0).any(axis=2)
    best = scores.argmax(axis=2)
    names = np.array([*labels, b""], dtype=np.object_)[np.where(is_word, best, len(labels))]
    return names, np.where(is_word, scores.max(axis=2), np.float32(0))
