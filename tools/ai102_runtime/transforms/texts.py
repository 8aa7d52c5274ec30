"""UTF-8 text to the padded token ids a network takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer


def text_from_bytes(data: bytes, *, max_bytes: int) -> str:
    """The text in `data`. Raises ValueError with one sentence for the caller."""
    if len(data) > max_bytes:
        raise ValueError(f"the text has {len(data)} bytes, more than {max_bytes}: split it and send the parts")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as err:
        raise ValueError(f"the text is not valid UTF-8 (byte {err.start}): encode it as UTF-8") from None
    if not text.strip():
        raise ValueError("the text is empty: send at least one word")
    return text


class TextEncoder:
    """A checkpoint's tokenizer, with padding to fixed lengths in place of whatever its file asks for."""

    def __init__(self, tokenizer: Tokenizer, lengths: Sequence[int], pad_id: int | None = None) -> None:
        """`lengths` rise; a text longer than the last of them is cut there. `pad_id` None: the tokenizer's, or 0."""
        if pad_id is None:
            pad_id = tokenizer.padding["pad_id"] if tokenizer.padding else 0
        self._pad_id = pad_id
        self._lengths = lengths
        self._tokenizer = tokenizer
        tokenizer.no_padding()
        tokenizer.enable_truncation(lengths[-1])

    def tokens(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Tokenize, and pad all texts to the shortest length that holds the longest of them.

        Returns input_ids and attention_mask, int64 [texts, length], and truncated, bool [texts, 1]: the text
        was longer than the network reads and its end was dropped.
        """
        return self._padded(self._tokenizer.encode_batch(list(texts)))

    def tokens_and_spans(
        self, texts: Sequence[str]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.int32]]:
        """As `tokens`, and spans, int32 [texts, length, 2]: each token's first and past-the-last character.

        Both are 0 for tokens that stand for nothing in the text: those the network wants around it, and padding.
        """
        encodings = self._tokenizer.encode_batch(list(texts))
        input_ids, attention_mask, truncated = self._padded(encodings)
        spans = np.zeros((*input_ids.shape, 2), dtype=np.int32)
        for row, encoding in enumerate(encodings):
            is_word = np.array(encoding.special_tokens_mask) == 0
            spans[row, : len(encoding)] = np.array(encoding.offsets).reshape(-1, 2) * is_word[:, None]
        return input_ids, attention_mask, truncated, spans

    def _padded(self, encodings: Sequence[Encoding]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        longest = max(len(encoding) for encoding in encodings)
        length = next(length for length in self._lengths if length >= longest)
        input_ids = np.full((len(encodings), length), self._pad_id, dtype=np.int64)
        attention_mask = np.zeros((len(encodings), length), dtype=np.int64)
        for row, encoding in enumerate(encodings):
            input_ids[row, : len(encoding)] = encoding.ids
            attention_mask[row, : len(encoding)] = 1
        truncated = np.array([[bool(encoding.overflowing)] for encoding in encodings])
        return input_ids, attention_mask, truncated
