"""A checkpoint's tokenizer: the lengths that texts are padded to, and whether tokenizer.json is sufficient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer
from torch import nn
from transformers import AutoTokenizer

from ai102.errors import UserError
from ai102.weights.hf.checkpoint import Checkpoint
from ai102.weights.hf.load import errors_in_one_line, quietly
from ai102_runtime.transforms.texts import TextEncoder

SHORTEST, LONGEST = 16, 4096  # exported lengths are dynamic up to the latter
LONGEST_IF_UNSAID = 512
PROBES = (
    "Hello, World!  It's  3 o'clock; a_b-c @home #1 1,000.50",
    " Ünïcödé naïve ÀÉÎ straße \u0130stanbul\ttab\nline",
    "日本語 テスト 中文 한국어 русский عربى 🙂👍🏽",
    "[CLS] [SEP] [MASK] <s> </s> <mask> <unk> [UNK]",
)


def tokenizer_of(checkpoint: Checkpoint) -> Any:
    """The tokenizer as transformers builds it from all of the checkpoint's files."""
    with quietly(), errors_in_one_line(checkpoint, "cannot read its tokenizer"):
        return AutoTokenizer.from_pretrained(checkpoint.folder, local_files_only=True, trust_remote_code=False)


def padded_lengths(checkpoint: Checkpoint, tokenizer: Any, net: nn.Module, max_length: int | None) -> list[int]:
    """Powers of two from 16 up to the longest text that tokenizer and network accept, which is the last entry."""
    bounds = [tokenizer.model_max_length, _positions(net), max_length]
    longest = min((int(bound) for bound in bounds if bound and bound < 1 << 30), default=LONGEST_IF_UNSAID)
    if longest < 2:
        raise UserError(f"{checkpoint.source}: reads at most {longest} tokens, expected at least 2")
    longest = min(longest, LONGEST)
    shorter = [1 << power for power in range(SHORTEST.bit_length() - 1, 13) if 1 << power < longest]
    return [*shorter, longest]


def _positions(net: nn.Module) -> int | None:
    """The number of token positions of the network. RoBERTa's begin after the padding token's."""
    count: int | None = getattr(net.config, "max_position_embeddings", None)
    for name, layer in net.named_modules():
        is_positions = "position" in name and isinstance(layer, nn.Embedding) and layer.num_embeddings == count
        if count and is_positions and layer.padding_idx is not None:
            return count - int(layer.padding_idx) - 1
    return count if count and count > 0 else None


def check_tokens(checkpoint: Checkpoint, tokenizer: Any, lengths: Sequence[int], pad_id: int) -> TextEncoder:
    """The tokenizer that is served, from tokenizer.json alone.

    Raises UserError when that file cannot be read or gives other tokens than transformers with all files.
    """
    with errors_in_one_line(checkpoint, "and tokenizers cannot read tokenizer.json"):
        alone = Tokenizer.from_file(str(checkpoint.folder / "tokenizer.json"))
    lowers = bool((checkpoint.json("sentence_bert_config.json") or {}).get("do_lower_case"))
    encoder = TextEncoder(alone, lengths, pad_id)
    for text in PROBES:
        with errors_in_one_line(checkpoint, "cannot run its tokenizer"):
            theirs = tokenizer(text.lower() if lowers else text, truncation=True, max_length=lengths[-1])
        input_ids, attention_mask, _ = encoder.tokens([text])
        if theirs["input_ids"] != input_ids[0, : int(attention_mask.sum())].tolist():
            raise UserError(
                f"{checkpoint.source}: tokenizer.json alone gives other tokens than transformers with the "
                'other files: save it again, AutoTokenizer.from_pretrained("...").save_pretrained("...")'
            )
    return encoder
