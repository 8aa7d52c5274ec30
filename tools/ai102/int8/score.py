"""How far two networks' answers to the same samples lie apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def top1(scores: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """The share, 0 to 1, of rows of `scores` [samples, classes] whose largest is where `labels` [samples] says.

    Raises ValueError when the counts differ or there are no samples.
    """
    if len(scores) != len(labels) or not len(labels):
        raise ValueError(f"{len(scores)} rows of scores and {len(labels)} labels")
    return float((scores.argmax(axis=1) == labels).mean())


def cosine_stats(reference: NDArray[np.floating[Any]], candidate: NDArray[np.floating[Any]]) -> tuple[float, float]:
    """Mean and smallest cosine between the rows of two arrays [samples, width].

    A row that holds a NaN makes both NaN. Raises ValueError when shapes differ, there are no rows or one is zero.
    """
    cosines = (_unit_rows(reference, candidate.shape) * _unit_rows(candidate, reference.shape)).sum(axis=1)
    return float(cosines.mean()), float(cosines.min())


def nearest_neighbour_agreement(reference: NDArray[np.floating[Any]], candidate: NDArray[np.floating[Any]]) -> float:
    """The share, 0 to 1, of samples whose nearest other sample by cosine is the same in both [samples, width].

    Raises ValueError when shapes differ, one row is zero or there are fewer than two samples.
    """
    if len(reference) < 2:
        raise ValueError(f"{len(reference)} samples have no neighbours")
    nearest = []
    for unit in (_unit_rows(reference, candidate.shape), _unit_rows(candidate, reference.shape)):
        cosines = unit @ unit.T
        np.fill_diagonal(cosines, -np.inf)
        nearest.append(cosines.argmax(axis=1))
    return float((nearest[0] == nearest[1]).mean())


def _unit_rows(rows: NDArray[np.floating[Any]], wanted_shape: tuple[int, ...]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(rows.astype(np.float64), axis=-1, keepdims=True)
    if rows.shape != wanted_shape or rows.ndim != 2 or not len(rows) or (lengths == 0).any():
        raise ValueError(
            f"the rows must have the same shape [samples, width] and none may be zero; they are {rows.shape}"
        )
    return np.asarray(rows / lengths)
