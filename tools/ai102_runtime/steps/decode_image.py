"""Encoded PNG or JPEG bytes in, the network's pixels out."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai102_runtime.transforms.images import pixels_from_image


class Step:
    def __init__(
        self,
        parameters: Mapping[str, str],
        inputs: Sequence[str],
        outputs: Sequence[str],
        folder: Path,
        labels_file: Path,
    ) -> None:
        self.pixels_from_image = partial(
            pixels_from_image,
            height=int(parameters["height"]),
            width=int(parameters["width"]),
            channels=int(parameters["channels"]),
            layout=parameters["layout"],
            resample=parameters["resample"],
            max_megapixels=float(parameters["max_megapixels"]),
            shortest_edge=int(parameters["shortest_edge"]) if "shortest_edge" in parameters else None,
            type=parameters.get("type", "UINT8"),
            mean=floats(parameters.get("mean", "")),
            std=floats(parameters.get("std", "")),
        )
        (self.input,), (self.output,) = inputs, outputs

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        images = arrays[self.input].reshape(-1)
        pixels = []
        for position, image in enumerate(images, start=1):
            try:
                pixels.append(self.pixels_from_image(image))
            except ValueError as err:
                which = f"image {position} of {len(images)}: " if len(images) > 1 else ""
                raise ValueError(which + str(err)) from None
        return {self.output: np.stack(pixels) if len(pixels) > 1 else pixels[0][None]}


def floats(text: str) -> list[float]:
    return [float(part) for part in text.split(",") if part]
