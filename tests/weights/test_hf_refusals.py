"""A missing, unsuitable or unsafe checkpoint gives one line that says what to do."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from ai102 import weights as networks
from ai102.contract import Task, Tensor
from ai102.errors import UserError
from ai102.weights.source import Wish
from tests.weights import checkpoints
from tests.weights.served import proposed, source_of

pytestmark = [pytest.mark.slow, pytest.mark.imports]


def as_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def without(file: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / file).unlink()


def with_keys(file: str, **keys: Any) -> Callable[[Path], Any]:
    return lambda folder: checkpoints.change(folder / file, **keys)


def with_text(file: str, text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / file).write_text(text)


def renamed(file: str, name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / file).rename(folder / name)


# Errors of `add` and of the build.
REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (without("config.json"), "config.json is missing in the checkpoint; use a complete checkpoint"),
    "broken config": (with_text("config.json", "{"), "config.json is not JSON: "),
    "a list": (with_text("config.json", "[]"), "config.json holds a list, expected an object"),
    "no weights": (without("model.safetensors"), "model.safetensors is missing in the checkpoint"),
    "a pickle": (
        as_pickle,
        "has its weights as pytorch_model.bin alone, a pickle, which can run arbitrary code when it is opened: "
        "convert it to safetensors, or write --allow-pickle (allow_pickle = true) if you trust them",
    ),
    "several files": (
        renamed("model.safetensors", "model.safetensors.index.json"),
        "its weights are split into several files; one ONNX file holds at most 2 GB",
    ),
    "code of its own": (
        with_keys("config.json", auto_map={"AutoModel": "modeling_own.OwnModel"}),
        "config.json has an auto_map: it would run code from the checkpoint, which is never done here",
    ),
    "a tokenizer's code": (
        with_keys("tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Own", None]}),
        "tokenizer_config.json has an auto_map: ",
    ),
    "quantized": (
        with_keys("config.json", quantization_config={"quant_method": "gptq", "bits": 4}),
        "its weights are quantized already (gptq): name the float checkpoint",
    ),
    "no tokenizer": (
        without("tokenizer.json"),
        "tokenizer.json is missing in the checkpoint; save it there with transformers: AutoTokenizer",
    ),
}
# Errors of `add` alone, which opens the checkpoint.
REFUSED_WHEN_ADDED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "unknown type": (
        with_keys("config.json", model_type="perceptron9000"),
        'config.json has model_type "perceptron9000", which transformers',
    ),
    "no type": (with_text("config.json", "{}"), 'config.json has model_type "None", which transformers'),
    "broken weights": (with_text("model.safetensors", "no tensors"), "cannot load it for text-classification: "),
    "other sizes": (with_keys("config.json", hidden_size=16), "cannot load it for text-classification: "),
    "broken tokenizer": (with_text("tokenizer.json", "{}"), "cannot read its tokenizer: "),
    "other tokens": (
        with_keys("tokenizer_config.json", tokenizer_class="BertTokenizer", do_lower_case=False),
        "tokenizer.json alone gives other tokens than transformers with the other files: save it again, ",
    ),
    "labels with holes": (
        with_keys("config.json", id2label={"0": "a", "2": "b", "5": "c"}),
        "id2label has [0, 2, 5]..., expected 0, 1, 2 and so on",
    ),
    "labels of two lines": (
        with_keys("config.json", id2label={"0": "a", "1": "b\nc", "2": "d"}),
        "a label is 'b\\nc', expected one line each",
    ),
}


def test_a_tokenizer_that_is_saved_again_is_served(tmp_path: Path) -> None:
    """The advice of the error for tokenizer files that disagree."""
    with_keys("tokenizer_config.json", tokenizer_class="BertTokenizer", do_lower_case=False)(
        checkpoints.bert_classifier(tmp_path)
    )
    with checkpoints.quiet():
        transformers.AutoTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path)
    assert proposed(tmp_path, "text-classification").text


def refusal(ask: Callable[[], object], folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        ask()
    line = str(caught.value)
    assert line.startswith(f"hf:{folder}: ")
    assert "\n" not in line
    return line


@pytest.mark.parametrize(("spoil", "words"), REFUSED.values(), ids=REFUSED)
def test_a_checkpoint_that_is_incomplete_or_unsafe_is_one_line(
    spoil: Callable[[Path], Any], words: str, tmp_path: Path
) -> None:
    network = proposed(checkpoints.bert_classifier(tmp_path), "text-classification")
    spoil(tmp_path)
    assert words in refusal(lambda: proposed(tmp_path, "text-classification"), tmp_path)
    assert words in refusal(lambda: source_of(network), tmp_path)


@pytest.mark.parametrize(("spoil", "words"), REFUSED_WHEN_ADDED.values(), ids=REFUSED_WHEN_ADDED)
def test_a_checkpoint_that_cannot_be_served_is_one_line(
    spoil: Callable[[Path], Any], words: str, tmp_path: Path
) -> None:
    spoil(checkpoints.bert_classifier(tmp_path))
    assert words in refusal(lambda: proposed(tmp_path, "text-classification"), tmp_path)


def bert_without_head(folder: Path) -> Path:
    return checkpoints.sentence_embedder(folder)


@pytest.mark.parametrize(
    ("make", "task", "words"),
    [
        (
            bert_without_head,
            "text-classification",
            "its network is BertModel and lacks classifier.bias, classifier.weight, which text-classification needs: "
            "transformers would initialize them at random",
        ),
        (bert_without_head, "token-classification", "its network is BertModel and lacks classifier.bias, classifier"),
        (checkpoints.resnet, "text-classification", 'transformers has no network of type "resnet" for text-'),
        (checkpoints.bert_classifier, "image-classification", 'has no network of type "bert" for image-'),
        (checkpoints.bert_classifier, "tensors", "--task tensors is not for checkpoints"),
    ],
)
def test_a_checkpoint_for_another_task_is_one_line(
    make: Callable[..., Path], task: Task, words: str, tmp_path: Path
) -> None:
    make(tmp_path)
    assert words in refusal(lambda: proposed(tmp_path, task), tmp_path)


def test_an_image_network_without_its_head_is_one_line(tmp_path: Path) -> None:
    config = transformers.ViTConfig(image_size=32, patch_size=8, **checkpoints.SIZES)
    checkpoints.vit(tmp_path)
    with checkpoints.quiet():
        transformers.ViTModel(config).save_pretrained(tmp_path)
    line = refusal(lambda: proposed(tmp_path, "image-classification"), tmp_path)
    assert "its network is ViTModel and lacks classifier.bias, classifier.weight" in line


class Touches:
    """A pickle that creates a file when it is opened."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.file,)


def test_a_pickle_is_not_opened_unless_it_is_allowed(tmp_path: Path) -> None:
    folder = checkpoints.bert_classifier(tmp_path / "net")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({**weights, "extra": Touches(tmp_path / "touched")}))
    assert "a pickle, which can run arbitrary code" in refusal(lambda: proposed(folder, "text-classification"), folder)
    assert not (tmp_path / "touched").exists()


def test_a_pickle_that_is_allowed_gives_the_same_network(tmp_path: Path) -> None:
    first = proposed(checkpoints.bert_classifier(tmp_path), "text-classification")
    as_pickle(tmp_path)
    second = proposed(tmp_path, "text-classification", allow_pickle=True)
    assert second.allow_pickle
    assert second == first.model_copy(update={"allow_pickle": True, "sha256": second.sha256})
    assert source_of(second).module


def test_tensors_and_labels_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    checkpoints.bert_classifier(tmp_path)
    pixels = Tensor(name="pixels", type="FP32", dims=(3, 8, 8))
    assert "leave --input and --output out" in refusal(
        lambda: proposed(tmp_path, "text-classification", inputs=(pixels,)), tmp_path
    )
    assert "gives 3 scores and 2 labels were named" in refusal(
        lambda: proposed(tmp_path, "text-classification", labels=("a", "b")), tmp_path
    )
    assert "an embedding has no labels" in refusal(
        lambda: proposed(tmp_path, "text-embedding", labels=("a",)), tmp_path
    )


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all"])
def test_a_folder_that_is_not_there_is_one_line(name: str) -> None:
    with pytest.raises(UserError, match=rf"^hf:{name}: no such folder$"):
        networks.propose(f"hf:{name}", Wish("net", "text-classification"))


def test_a_folder_is_relative_to_that_of_the_contract(tmp_path: Path) -> None:
    checkpoints.bert_classifier(tmp_path / "nets" / "mine")
    table = networks.propose("hf:nets/mine", Wish("net", "text-classification", home=tmp_path))
    assert table["labels"] == list(checkpoints.MOODS)
