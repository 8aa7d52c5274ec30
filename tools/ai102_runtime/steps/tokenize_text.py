"""UTF-8 text in, padded token ids out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from tokenizers import Tokenizer

from ai102_runtime.transforms.texts import TextEncoder, text_from_bytes

OUTPUTS = ("input_ids", "attention_mask", "truncated", "spans")


class Step:
    def __init__(
        self,
        parameters: Mapping[str, str],
        inputs: Sequence[str],
        outputs: Sequence[str],
        folder: Path,
        labels_file: Path,
    ) -> None:
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise FileNotFoundError("tokenizer.json is missing; run `make engine`")
        lengths = [int(length) for length in parameters["lengths"].split(",")]
        pad_id = int(parameters["pad_id"]) if "pad_id" in parameters else None
        encoder = TextEncoder(Tokenizer.from_file(str(file)), lengths, pad_id)
        self.encode = encoder.tokens_and_spans if "spans" in outputs else encoder.tokens
        self.max_bytes = int(parameters["max_bytes"])

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        items = arrays["text"].reshape(-1)
        texts = []
        for position, item in enumerate(items, start=1):
            try:
                texts.append(text_from_bytes(item, max_bytes=self.max_bytes))
            except ValueError as err:
                which = f"text {position} of {len(items)}: " if len(items) > 1 else ""
                raise ValueError(which + str(err)) from None
        return dict(zip(OUTPUTS, self.encode(texts), strict=False))
