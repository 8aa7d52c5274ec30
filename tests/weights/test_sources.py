import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from ai102 import artifact, contract
from ai102 import weights as networks
from ai102.errors import UserError
from ai102.samples.read import read_samples, tensors_of_items
from ai102.weights import digits_resnet
from ai102.weights.export import onnx_from_torch, parity
from ai102.weights.hf.sentence_embedder import SentenceEmbedder

pytestmark = [pytest.mark.slow, pytest.mark.imports]
ROOT = Path(__file__).parent.parent.parent
SETS = ROOT / "calibration" / "sets"
CONTRACT = contract.load(ROOT / "models.toml")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real BERT, small and with random weights, in Hugging Face's format."""
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=100, **sizes)).save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder


def source_of(source: str, build: Path, sha256: str | None = None) -> networks.source.Source:
    network = CONTRACT.networks["minilm"].model_copy(update={"source": source, "sha256": sha256})
    return networks.find("minilm", network, ROOT, build)


def from_checkpoint(folder: Path) -> SentenceEmbedder:
    module = source_of(f"hf:{folder}", folder).module
    assert module
    network_module = module(lambda done, total: None)
    assert isinstance(network_module, SentenceEmbedder)
    return network_module


def test_a_local_checkpoint_is_pinned_by_its_weights(checkpoint: Path, tmp_path: Path) -> None:
    source = source_of(f"hf:{checkpoint}", tmp_path)
    assert source.tokenizer_file == checkpoint / "tokenizer.json"
    weights = artifact.sha256_of_file(checkpoint / "model.safetensors")
    assert source_of(f"hf:{checkpoint}", tmp_path, sha256=weights).identity == source.identity


def test_other_weights_than_the_pinned_ones_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model.safetensors has sha256 [0-9a-f]{64}, but models.toml pins 000"):
        source_of(f"hf:{checkpoint}", tmp_path, sha256="0" * 64)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("hf:{tmp}", "config.json is missing in the checkpoint; use a complete checkpoint"),
        ("random:cats", 'source "random:cats" is unknown; there is random:resnet50'),
        ("train:cats", 'source "train:cats" is unknown; there is train:digits'),
        (
            "ftp:cats",
            'networks.minilm.source is "ftp:cats": no source "ftp"; write one of train:..., hf:..., ',
        ),
    ],
)
def test_an_invalid_source_is_one_line(source: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        source_of(source.format(tmp=tmp_path), tmp_path)
    assert words in str(caught.value)


def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    """In a separate process: the hub's library reads its address when it is imported."""
    (tmp_path / "calibration").symlink_to(ROOT / "calibration")
    text = (ROOT / "models.toml").read_text().replace("sentence-transformers/all-MiniLM-L6-v2", "nobody/nothing")
    (tmp_path / "models.toml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "ai102", "export", "minilm"],
        capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9"},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("ai102: hf:nobody/nothing: not a local folder, and not available from the hub")
    assert done.stderr.count("\n") == 1


def test_the_embedder_masks_and_pools_as_the_library_does(checkpoint: Path) -> None:
    embedder = from_checkpoint(checkpoint)
    ids = torch.tensor([[5, 6, 7, 0], [8, 9, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    with torch.no_grad():
        words = BertModel.from_pretrained(checkpoint, attn_implementation="eager").eval()(ids, mask).last_hidden_state
        mean = (words * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        expected = torch.nn.functional.normalize(mean, dim=1)
        assert torch.allclose(embedder(ids, mask), expected, atol=1e-6)


NETWORK = CONTRACT.networks["minilm"].model_copy(
    update={"outputs": (CONTRACT.networks["minilm"].outputs[0].model_copy(update={"dims": (32,)}),)}
)
SAMPLES = {"input_ids": np.ones((4, 16), np.int64), "attention_mask": np.ones((4, 16), np.int64)}


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("exported") / "x.onnx"
    assert onnx_from_torch(from_checkpoint(checkpoint), NETWORK, SAMPLES, file) < 1e-5
    return file


def test_an_export_keeps_batch_and_length_dynamic(exported: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(exported)
    longer = {name: np.ones((7, 33), np.int64) for name in SAMPLES}
    assert session.run(["sentence_embedding"], longer)[0].shape == (7, 32)


def test_an_export_that_differs_from_pytorch_is_refused(checkpoint: Path, exported: Path) -> None:
    class Moody(SentenceEmbedder):
        """Gives other outputs than at its export, like a network with active dropout."""

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return super().forward(input_ids, attention_mask) + 0.1

    moody = Moody(from_checkpoint(checkpoint).encoder).eval()
    with pytest.raises(UserError, match=r"ONNX differs from PyTorch by 1.00e-01, the limit is 1e-04"):
        parity(moody, NETWORK, SAMPLES, exported)


def test_training_is_repeatable_and_learns() -> None:
    train = read_samples(SETS, "digits", "train")
    pixels = tensors_of_items(CONTRACT.networks["digits"], train.items[:256], None)["pixels"]
    labels = np.array(train.labels[:256])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        nets = [digits_resnet.train(pixels, labels, lambda done, total: None) for _ in range(2)]
    finally:
        torch.set_num_threads(threads)
    with torch.no_grad():
        first, second = (net(torch.from_numpy(pixels)).numpy() for net in nets)
    assert np.array_equal(first, second)
    assert (first.argmax(axis=1) == labels).mean() > 0.95


def test_an_export_holds_no_path_of_the_machine_and_is_repeatable(
    checkpoint: Path, exported: Path, tmp_path: Path
) -> None:
    onnx_from_torch(from_checkpoint(checkpoint), NETWORK, SAMPLES, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == exported.read_bytes()
    assert str(ROOT).encode() not in exported.read_bytes()
    assert b"site-packages" not in exported.read_bytes()


def test_the_resnet50_of_the_load_test_is_the_real_architecture_with_the_same_weights_every_time(
    tmp_path: Path,
) -> None:
    network = contract.load(ROOT / "loadtest" / "resnet50.toml").networks["resnet50"]
    source = networks.find("resnet50", network, ROOT, tmp_path)
    first, second = (source.module(lambda done, total: None) for _ in range(2))
    convolutions = [layer for layer in first.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert len(convolutions) == 53
    assert source.identity == networks.find("resnet50", network, ROOT, tmp_path).identity
    pixels = torch.full((1, 3, 224, 224), 128, dtype=torch.uint8)
    with torch.no_grad():
        answers = [net(pixels) for net in (first, second)]
    assert torch.equal(answers[0], answers[1])
    assert answers[0].sum().item() == pytest.approx(1, abs=1e-5)
