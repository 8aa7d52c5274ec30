"""BERT-type networks: their inputs, and sentence embeddings as sentence-transformers defines them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

Pooling = Literal["mean", "cls", "max"]
# Inputs that are computed here, since the network would derive them from mask and length with a dozen operators.
# Only for types with the same results either way: a type with a sliding window needs the plain mask.
HANDED_OVER: dict[str, tuple[str, ...]] = {
    "bert": ("mask", "positions"),
    "electra": ("mask", "positions"),
    "albert": ("mask", "positions"),
    "distilbert": ("mask",),
    "roberta": ("mask",),
    "xlm-roberta": ("mask",),
    "camembert": ("mask",),
    "mpnet": ("mask",),
}


class TextNetwork(nn.Module):
    """A network of transformers that takes input_ids and attention_mask, int64 [batch, length]."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        config: Any = encoder.config
        self.handed_over = HANDED_OVER.get(config.model_type, ())
        self.has_types = getattr(config, "type_vocab_size", 0) > 0

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.answer(self.outputs(input_ids, attention_mask), attention_mask)

    def answer(self, outputs: Any, attention_mask: Tensor) -> Tensor:
        """The served output, computed from the encoder's outputs."""
        raise NotImplementedError

    def outputs(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        extra: dict[str, Tensor] = {"attention_mask": attention_mask}
        if "mask" in self.handed_over:
            far_below_zero = torch.finfo(torch.float32).min
            extra["attention_mask"] = (1.0 - attention_mask[:, None, None, :].float()) * far_below_zero
        if "positions" in self.handed_over:
            extra["position_ids"] = torch.arange(input_ids.shape[1]).unsqueeze(0)
        if self.has_types:
            extra["token_type_ids"] = torch.zeros_like(input_ids)
        return self.encoder(input_ids=input_ids, **extra)


class SentenceEmbedder(TextNetwork):
    """input_ids and attention_mask, int64 [batch, length], to embeddings [batch, width]; normal: of length one."""

    def __init__(self, encoder: nn.Module, pooling: Pooling = "mean", *, is_normal: bool = True) -> None:
        super().__init__(encoder)
        self.pooling, self.is_normal = pooling, is_normal

    def answer(self, outputs: Any, attention_mask: Tensor) -> Tensor:
        pooled = _POOLINGS[self.pooling](outputs.last_hidden_state, attention_mask)
        return nn.functional.normalize(pooled, dim=1) if self.is_normal else pooled


def _mean(words: Tensor, attention_mask: Tensor) -> Tensor:
    weight = attention_mask.unsqueeze(-1).to(words.dtype)
    return (words * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-9)


def _cls(words: Tensor, _attention_mask: Tensor) -> Tensor:
    return words[:, 0]


def _max(words: Tensor, attention_mask: Tensor) -> Tensor:
    return words.masked_fill(attention_mask.unsqueeze(-1) == 0, -1e9).amax(dim=1)


_POOLINGS: dict[Pooling, Callable[[Tensor, Tensor], Tensor]] = {"mean": _mean, "cls": _cls, "max": _max}
