"""Text networks of a checkpoint: classifiers of texts and of tokens, embedders, and their tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ai102.contract import Task
from ai102.errors import UserError
from ai102.samples.examples import TEXTS
from ai102.weights.hf.checkpoint import Checkpoint
from ai102.weights.hf.load import Activation, activate, activation_of, errors_in_one_line, labels_of, loaded
from ai102.weights.hf.pooling import embedding_of
from ai102.weights.hf.sentence_embedder import SentenceEmbedder, TextNetwork
from ai102.weights.hf.tokenizer import check_tokens, padded_lengths, tokenizer_of
from ai102_runtime.transforms.texts import TextEncoder

TOLERANCE = 1e-4
# Weights of AutoModel that are not part of an embedding.
UNUSED = ("pooler.",)


class TextClassifier(TextNetwork):
    """input_ids and attention_mask, int64 [batch, length], to scores: [batch, labels], or [batch, length, labels]."""

    def __init__(self, encoder: nn.Module, activation: Activation) -> None:
        super().__init__(encoder)
        self.activation = activation

    def answer(self, outputs: Any, attention_mask: Tensor) -> Tensor:
        return activate(outputs.logits, self.activation)


def module(checkpoint: Checkpoint, task: Task) -> TextNetwork:
    """The network in eval mode. Raises UserError where `described` does."""
    if task == "text-embedding":
        embedding = embedding_of(checkpoint)
        encoder = loaded(checkpoint, task, UNUSED)
        return SentenceEmbedder(encoder, embedding.pooling, is_normal=embedding.is_normal).eval()
    net = loaded(checkpoint, task)
    return TextClassifier(net, "softmax" if task == "token-classification" else activation_of(net.config)).eval()


def described(checkpoint: Checkpoint, task: Task, labels: Sequence[str]) -> Mapping[str, Any]:
    """inputs, outputs, labels and text of the network's table in models.toml.

    Raises UserError when the checkpoint is not for the task, or would not be served as transformers runs it.
    """
    net = module(checkpoint, task)
    checkpoint.require_files(task)
    embedding = embedding_of(checkpoint) if task == "text-embedding" else None
    tokenizer = tokenizer_of(checkpoint)
    lengths = padded_lengths(checkpoint, tokenizer, net.encoder, embedding.max_length if embedding else None)
    config: Any = net.encoder.config
    pad_id = int(next((known for known in (tokenizer.pad_token_id, config.pad_token_id) if known is not None), 0))
    served = check_tokens(checkpoint, tokenizer, lengths, pad_id)
    width = _check_answers(checkpoint, net, tokenizer, served)
    text = {"lengths": lengths, "pad_id": pad_id}
    inputs = [{"name": name, "type": "INT64", "dims": [-1]} for name in ("input_ids", "attention_mask")]
    if task == "text-embedding":
        if labels:
            raise UserError(f"{checkpoint.source}: an embedding has no labels: leave --labels out")
        output = {"name": "sentence_embedding", "type": "FP32", "dims": [width]}
        return {"inputs": inputs, "outputs": [output], "text": text}
    names = labels_of(checkpoint, config, labels)
    if len(names) != width:
        raise UserError(f"{checkpoint.source}: gives {width} scores and has {len(names)} labels")
    dims = [-1, width] if task == "token-classification" else [width]
    return {
        "inputs": inputs,
        "outputs": [{"name": "scores", "type": "FP32", "dims": dims}],
        "labels": names,
        "text": text,
    }


def _check_answers(checkpoint: Checkpoint, net: TextNetwork, tokenizer: Any, encoder: TextEncoder) -> int:
    """The last dimension of the network's output.

    Raises UserError if its outputs for texts in one padded batch, as they are served, differ from those for each
    text alone with all of the tokenizer's outputs, as transformers runs it.
    """
    input_ids, attention_mask, _ = encoder.tokens(TEXTS)
    with torch.no_grad(), errors_in_one_line(checkpoint, "cannot run it"):
        served = net(torch.from_numpy(input_ids), torch.from_numpy(attention_mask))
        for row, text in enumerate(TEXTS):
            tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=input_ids.shape[1])
            theirs = net.answer(net.encoder(**tokens), torch.ones_like(tokens["input_ids"]))[0]
            ours = served[row][: len(theirs)]
            difference = float((theirs - ours).abs().max())
            if not difference <= TOLERANCE:
                raise UserError(
                    f"{checkpoint.source}: differs by {difference:.1e} when padded and in a batch: a network that "
                    "reads more than token ids and a mask is not served"
                )
    return int(served.shape[-1])
