"""Each token's scores and place in the text in; its best label, that label's score and the place out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ai102_runtime.transforms.scores import token_labels


class Step:
    def __init__(
        self,
        parameters: Mapping[str, str],
        inputs: Sequence[str],
        outputs: Sequence[str],
        folder: Path,
        labels_file: Path,
    ) -> None:
        self.scores = inputs[0]
        self.labels = labels_file.read_bytes().splitlines()

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        label, score = token_labels(arrays[self.scores], arrays["spans"], self.labels)
        return {"label": label, "score": score, "span": arrays["spans"]}
