"""A BERT-type checkpoint with mean pooling and unit length, as sentence-transformers defines them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModel
from transformers.utils import logging


class SentenceEmbedder(nn.Module):
    """input_ids and attention_mask, int64 [batch, length], to embeddings of length one [batch, width]."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        # Everything the encoder would derive is handed over: its own derivations export to a dozen odd operators.
        far_below_zero = torch.finfo(torch.float32).min
        mask = (1.0 - attention_mask[:, None, None, :].float()) * far_below_zero
        positions = torch.arange(input_ids.shape[1]).unsqueeze(0)
        words = self.encoder(
            input_ids=input_ids,
            attention_mask=mask,
            token_type_ids=torch.zeros_like(input_ids),
            position_ids=positions,
        ).last_hidden_state
        weight = attention_mask.unsqueeze(-1).to(words.dtype)
        mean = (words * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-9)
        return nn.functional.normalize(mean, dim=1)


def from_checkpoint(folder: Path) -> SentenceEmbedder:
    """The checkpoint in `folder`, in eval mode; reads only safetensors, never pickle."""
    logging.disable_progress_bar()  # ours shows the step; theirs would draw over it
    encoder = AutoModel.from_pretrained(
        folder, use_safetensors=True, local_files_only=True, dtype=torch.float32, attn_implementation="eager"
    )
    return SentenceEmbedder(encoder).eval()
