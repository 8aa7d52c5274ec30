"""Triton model: encoded PNG or JPEG bytes in, the network's pixels out."""

import json
from functools import partial
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from ai102.transforms.images import pixels_from_image


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
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
        self.input = config["input"][0]["name"]
        self.output = config["output"][0]["name"]

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        images = pb_utils.get_input_tensor_by_name(request, self.input).as_numpy().reshape(-1)
        pixels = []
        for position, image in enumerate(images, start=1):
            try:
                pixels.append(self.pixels_from_image(image))
            except ValueError as err:
                which = f"image {position} of {len(images)}: " if len(images) > 1 else ""
                return refusal(which + str(err))
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(self.output, np.stack(pixels) if len(pixels) > 1 else pixels[0][None])]
        )


def floats(text: str) -> list[float]:
    return [float(part) for part in text.split(",") if part]


def refusal(message: str) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG))
