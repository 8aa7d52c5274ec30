"""BERT-type networks: what they are handed, and sentences' embeddings as sentence-transformers defines them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

Pooling = Literal["mean", "cls", "max"]
# What a network would derive from the mask and the length itself, in a dozen odd operators, and takes ready-made.
# Only for types of which that is known to be the same: a type with a sliding window must see the plain mask.
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
        """What is served of what the encoder gives."""
        raise NotImplementedError

    def outputs(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        ready: dict[str, Tensor] = {"attention_mask": attention_mask}
        if "mask" in self.handed_over:
            far_below_zero = torch.finfo(torch.float32).min
            ready["attention_mask"] = (1.0 - attention_mask[:, None, None, :].float()) * far_below_zero
        if "positions" in self.handed_over:
            ready["position_ids"] = torch.arange(input_ids.shape[1]).unsqueeze(0)
        if self.has_types:
            ready["token_type_ids"] = torch.zeros_like(input_ids)
        return self.encoder(input_ids=input_ids, **ready)


class SentenceEmbedder(TextNetwork):
    """input_ids and attention_mask, int64 [batch, length], to embeddings [batch, width], of length one if normal."""

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
