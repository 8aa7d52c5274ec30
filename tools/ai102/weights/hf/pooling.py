"""How a checkpoint's embeddings are pooled, according to the files of sentence-transformers."""

from __future__ import annotations

from typing import Any, NamedTuple

from ai102.errors import UserError
from ai102.weights.hf.checkpoint import Checkpoint
from ai102.weights.hf.sentence_embedder import Pooling

# By the key that is true in 1_Pooling/config.json; newer files have one key `pooling_mode` instead.
MODES: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
}


class Embedding(NamedTuple):
    pooling: Pooling
    is_normal: bool
    max_length: int | None  # tokens at which sentence-transformers truncates a text


def embedding_of(checkpoint: Checkpoint) -> Embedding:
    """The checkpoint's pooling; without modules.json it is the mean, normalised to length one.

    Raises UserError for what is not supported: other kinds of pooling, further layers, prompts.
    """
    modules = checkpoint.json("modules.json")
    sentence_config = checkpoint.json("sentence_bert_config.json") or {}
    max_length = sentence_config.get("max_seq_length")
    if modules is None:
        return Embedding("mean", True, max_length)
    kinds = {str(module.get("type")).rpartition(".")[2]: str(module.get("path", "")) for module in modules}
    if unknown := [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]:
        raise UserError(f"{checkpoint.source}: modules.json has a layer {unknown[0]}, which is not served")
    if "Pooling" not in kinds or kinds.get("Transformer"):
        raise UserError(
            f"{checkpoint.source}: modules.json names no Pooling, or a Transformer in another folder: not served"
        )
    prompts = checkpoint.json("config_sentence_transformers.json") or {}
    if (default := prompts.get("default_prompt_name")) and prompts.get("prompts", {}).get(default):
        raise UserError(
            f'{checkpoint.source}: sentence-transformers puts the prompt "{default}" before each text; that is not '
            "done when served: drop default_prompt_name from config_sentence_transformers.json and send it yourself"
        )
    return Embedding(_pooling(checkpoint, f"{kinds['Pooling']}/config.json"), "Normalize" in kinds, max_length)


def _pooling(checkpoint: Checkpoint, file: str) -> Pooling:
    config: dict[str, Any] | None = checkpoint.json(file)
    if config is None:
        raise UserError(f"{checkpoint.source}: {file} is missing in the checkpoint, but modules.json names it")
    named = config.get("pooling_mode")
    modes = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    modes = modes or [f"pooling_mode_{named}_{'token' if named == 'cls' else 'tokens'}"]
    if len(modes) != 1 or modes[0] not in MODES:
        known = ", ".join(MODES.values())
        raise UserError(f"{checkpoint.source}: {file} asks for {' and '.join(modes)}; served are {known}, one of them")
    return MODES[modes[0]]
