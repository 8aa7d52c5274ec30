"""Small checkpoints in Hugging Face's format, with random weights, in the layout in which they are published."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedModel

ANIMALS = ("cat", "dog", "heron", "newt", "owl")
MOODS = ("bad", "so so", "good")
ENTITIES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
WORDS = (
    "the train to coast leaves at nine never again slow rude and twice price ada love ##lace wrote charles "
    "bab ##bage from london in ok a ##b ##s ##ing hello world , . : ! ' 1 8 ##8 ##4 ##3 good bad"
)


def resnet(folder: Path, **processor: Any) -> Path:
    """As microsoft/resnet-50: the shorter side scaled to 56 / 0.875, then a center crop of 56 pixels."""
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1], layer_type="basic", **_labels(ANIMALS)
    )
    settings = {"size": {"shortest_edge": 56}, "crop_pct": 0.875, "resample": 3, **IMAGENET} | processor
    return _image(folder, transformers.ResNetForImageClassification, config, "ConvNextImageProcessorPil", settings)


def vit(folder: Path, **processor: Any) -> Path:
    """As google/vit-base-patch16-224: the whole image scaled to the network's size."""
    config = transformers.ViTConfig(image_size=32, patch_size=8, **SIZES, **_labels(ANIMALS))
    settings = {"size": {"height": 32, "width": 32}} | processor
    return _image(folder, transformers.ViTForImageClassification, config, "ViTImageProcessorPil", settings)


def convnext(folder: Path, **processor: Any) -> Path:
    """As facebook/convnext-tiny-224."""
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], **_labels(ANIMALS))
    settings = {"size": {"shortest_edge": 64}, "crop_pct": 0.875, "resample": 3, **IMAGENET} | processor
    return _image(folder, transformers.ConvNextForImageClassification, config, "ConvNextImageProcessorPil", settings)


def bert_classifier(folder: Path, **config: Any) -> Path:
    config = _bert() | _labels(MOODS) | config
    return _text(folder, transformers.BertForSequenceClassification, transformers.BertConfig(**config))


def distilbert_classifier(folder: Path, **config: Any) -> Path:
    config = {"vocab_size": _vocabulary_size(), "dim": 32, "n_layers": 1, "n_heads": 4, "hidden_dim": 64} | config
    config = {"max_position_embeddings": 64} | _labels(MOODS) | config
    return _text(folder, transformers.DistilBertForSequenceClassification, transformers.DistilBertConfig(**config))


def roberta_classifier(folder: Path) -> Path:
    config = _bert() | _labels(MOODS) | {"pad_token_id": 0, "max_position_embeddings": 65, "type_vocab_size": 1}
    return _text(folder, transformers.RobertaForSequenceClassification, transformers.RobertaConfig(**config))


def token_classifier(folder: Path) -> Path:
    config = transformers.BertConfig(**_bert(), **_labels(ENTITIES))
    return _text(folder, transformers.BertForTokenClassification, config)


def sentence_embedder(folder: Path, pooling: str = "mean_tokens", *, is_normal: bool = True) -> Path:
    """In sentence-transformers' layout; texts are truncated at 48 tokens."""
    _text(folder, transformers.BertModel, transformers.BertConfig(**_bert()))
    kinds = ["Transformer", "Pooling", *(["Normalize"] if is_normal else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": index, "name": str(index), "path": paths[index], "type": f"sentence_transformers.models.{kind}"}
        for index, kind in enumerate(kinds)
    ]
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    pooling_config = {"word_embedding_dimension": 32} | {f"pooling_mode_{mode}": mode == pooling for mode in modes}
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling_config))
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 48, "do_lower_case": False}))
    return folder


def change(file: Path, **keys: Any) -> None:
    """Set keys of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))


def _labels(names: tuple[str, ...]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}


def _bert() -> dict[str, Any]:
    return {"vocab_size": _vocabulary_size(), "max_position_embeddings": 64, **SIZES}


def _image(folder: Path, kind: Any, config: Any, processor: str, settings: dict[str, Any]) -> Path:
    with quiet():
        getattr(transformers, processor)(**settings).save_pretrained(folder)
        _network(kind, config).save_pretrained(folder)
    return folder


def _text(folder: Path, kind: Any, config: Any) -> Path:
    with quiet():
        tokenizer().save_pretrained(folder)
        _network(kind, config).save_pretrained(folder)
    return folder


def _network(kind: Any, config: Any) -> PreTrainedModel:
    torch.manual_seed(102)
    net: PreTrainedModel = kind(config).eval()
    with torch.no_grad():  # fresh weights are so small that all answers would be alike
        for weight in net.parameters():
            if weight.ndim == 2:
                weight.mul_(10)
    return net


def tokenizer() -> Any:
    """An uncased BERT tokenizer with a few words."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(WORDS.split())]
    word_piece = Tokenizer(models.WordPiece({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    word_piece.normalizer = normalizers.BertNormalizer()
    word_piece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    word_piece.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    word_piece.decoder = decoders.WordPiece()
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=word_piece, model_max_length=64, **names)


def _vocabulary_size() -> int:
    return 5 + len(dict.fromkeys(WORDS.split()))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Disables the progress bars of saving."""
    with contextlib.redirect_stderr(StringIO()):
        yield
