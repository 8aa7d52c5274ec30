"""A network's scores to the label a person reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def top_labels(scores: NDArray[np.float32], labels: Sequence[bytes]) -> tuple[NDArray[np.object_], NDArray[np.float32]]:
    """The best label of each row of scores [rows, labels]: labels as bytes objects [rows, 1], scores [rows, 1]."""
    best = scores.argmax(axis=1)
    names = np.array([[labels[index]] for index in best], dtype=np.object_)
    return names, np.take_along_axis(scores, best[:, None], axis=1)
