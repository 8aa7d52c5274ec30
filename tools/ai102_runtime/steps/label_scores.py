"""Scores in; the best label and its score out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ai102_runtime.transforms.scores import top_labels


class Step:
    def __init__(
        self,
        parameters: Mapping[str, str],
        inputs: Sequence[str],
        outputs: Sequence[str],
        folder: Path,
        labels_file: Path,
    ) -> None:
        (self.scores,) = inputs
        self.labels = labels_file.read_bytes().splitlines()

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        label, score = top_labels(arrays[self.scores], self.labels)
        return {"label": label, "score": score}
