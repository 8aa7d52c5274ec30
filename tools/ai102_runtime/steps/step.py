"""What every step is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Step(Protocol):
    def __init__(
        self,
        parameters: Mapping[str, str],
        inputs: Sequence[str],
        outputs: Sequence[str],
        folder: Path,
        labels_file: Path,
    ) -> None:
        """`inputs` and `outputs` are tensor names; `folder` holds what was built for the step."""

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Arrays by name. Raises ValueError with what is wrong with the request."""
