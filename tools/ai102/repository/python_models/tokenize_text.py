"""Triton model: UTF-8 text in, padded token ids out."""

import json
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer

from ai102.transforms.texts import TextEncoder, text_from_bytes


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        self.max_bytes = int(parameters["max_bytes"])
        file = Path(args["model_repository"], args["model_version"], "tokenizer.json")
        if not file.is_file():
            raise pb_utils.TritonModelException(f"{args['model_name']}: tokenizer.json is missing; run `make engine`")
        lengths = [int(length) for length in parameters["lengths"].split(",")]
        pad_id = int(parameters["pad_id"]) if "pad_id" in parameters else None
        self.encoder = TextEncoder(Tokenizer.from_file(str(file)), lengths, pad_id)
        self.gives_spans = any(output["name"] == "spans" for output in config["output"])

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        items = pb_utils.get_input_tensor_by_name(request, "text").as_numpy().reshape(-1)
        texts = []
        for position, item in enumerate(items, start=1):
            try:
                texts.append(text_from_bytes(item, max_bytes=self.max_bytes))
            except ValueError as err:
                which = f"text {position} of {len(items)}: " if len(items) > 1 else ""
                return refusal(which + str(err))
        encode = self.encoder.tokens_and_spans if self.gives_spans else self.encoder.tokens
        names = ("input_ids", "attention_mask", "truncated", "spans")
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, value) for name, value in zip(names, encode(texts), strict=False)]
        )


def refusal(message: str) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG))
