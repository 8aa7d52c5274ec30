"""Every text file of model_repository, rendered from the contract: config.pbtxt, labels, Python models."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from ai102 import artifact
from ai102.configs.model_config import Target as Target
from ai102.configs.model_config import config_from_model, runs_in_one_process
from ai102.configs.python_models import GENERATED, code_for
from ai102.contract import Contract, network_step
from ai102.errors import UserError

# By model: the plan's file name for each compute capability.
Plans = Mapping[str, Mapping[str, str]]
NO_PLANS: Plans = {}
# Kinds of models that have a labels.txt with the labels of their network.
LABELLED = ("onnx", "label_scores", "label_tokens")


def files_from_contract(contract: Contract, target: Target = "onnxruntime", plans: Plans = NO_PLANS) -> dict[str, str]:
    """{path inside model_repository: content} of every generated file, in a fixed order.

    For the target "tensorrt" the INT8 networks are plans on a GPU; everything else is the same. `plans` names, by
    model, the plan of each compute capability, if there are several.
    """
    files: dict[str, str] = {}
    models = {model.name: model for model in contract.served_models}
    for model in models.values():
        config = config_from_model(model, contract, models, target)
        for capability, plan in plans.get(model.name, {}).items():
            config.cc_model_filenames[capability] = plan
        files[f"{model.name}/config.pbtxt"] = pbtxt_from_config(config)
        is_one_process = runs_in_one_process(model, contract, target)
        network = network_step(contract.ensembles[model.name], models).network if is_one_process else model.network
        labels = contract.networks[network].labels if network and (is_one_process or model.kind in LABELLED) else ()
        if labels:
            files[f"{model.name}/labels.txt"] = "".join(f"{label}\n" for label in labels)
        if code := code_for(model.kind, is_one_process=is_one_process):
            files[f"{model.name}/1/model.py"] = code
        if model.kind == "ensemble":  # Triton requires a version folder, and git keeps no empty one
            files[f"{model.name}/1/.keep"] = ""
    return files


def write(contract: Contract, repository: Path, target: Target = "onnxruntime", plans: Plans = NO_PLANS) -> list[str]:
    """Update `repository`; returns the paths that changed, including those of removed models."""
    changed = drift(contract, repository, target, plans)
    for path, text in files_from_contract(contract, target, plans).items():
        if path in changed:
            artifact.write_text(repository / path, text)
    for leftover in leftovers(contract, repository, target):
        (repository / leftover).unlink()
    for folder in stale_models(contract, repository):
        clear_model(folder)
    return changed


def write_models(contract: Contract, repository: Path, models: Collection[str]) -> None:
    """Write only the files of these models; those of other models stay, whatever their target."""
    for path, text in files_from_contract(contract).items():
        if Path(path).parts[0] in models:
            artifact.write_text(repository / path, text)


def stale_models(contract: Contract, repository: Path) -> list[Path]:
    """Folders that were generated from an earlier contract and are not in this one."""
    served = {model.name for model in contract.served_models}
    header = GENERATED.format(source="models.toml")
    return [
        config.parent
        for config in sorted(repository.glob("*/config.pbtxt"))
        if config.parent.name not in served and config.read_text(encoding="utf-8", errors="replace").startswith(header)
    ]


def leftovers(contract: Contract, repository: Path, target: Target = "onnxruntime") -> list[str]:
    """Code in version 1 of a model that was generated for another target, or from an earlier contract."""
    files = files_from_contract(contract, target)
    return [
        path
        for model in contract.served_models
        for code in sorted((repository / model.name / "1").glob("*.py"))
        if (path := code.relative_to(repository).as_posix()) not in files and is_ours(code)
    ]


def clear_model(folder: Path) -> None:
    """Remove the model's folder with all generated or built files; other files stay."""
    for file in [file for file in folder.rglob("*") if file.is_file() and is_ours(file)]:
        file.unlink()
    for place in (*sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True), folder):
        if not any(place.iterdir()):
            place.rmdir()


def is_ours(file: Path) -> bool:
    """Whether the file is generated, or built (it has a manifest), or a manifest itself."""
    if file.name in ("labels.txt", ".keep") or file.name.endswith(".made.json") or "__pycache__" in file.parts:
        return True
    if artifact.inputs_of(file):
        return True
    return file.suffix in (".pbtxt", ".py") and file.read_bytes().startswith(b"# Generated by `ai102 configure`")


def drift(contract: Contract, repository: Path, target: Target = "onnxruntime", plans: Plans = NO_PLANS) -> list[str]:
    """The generated files that are missing in `repository`, differ from the contract, or are not in it."""
    differ = [
        path
        for path, text in files_from_contract(contract, target, plans).items()
        if not (repository / path).is_file() or (repository / path).read_text(encoding="utf-8") != text
    ]
    stale = [f"{folder.name}/config.pbtxt" for folder in stale_models(contract, repository)]
    return [*differ, *leftovers(contract, repository, target), *stale]


def check(contract: Contract, repository: Path, target: Target = "onnxruntime", plans: Plans = NO_PLANS) -> None:
    """Raises UserError when a generated file is missing or differs from the contract."""
    if stale := drift(contract, repository, target, plans):
        raise UserError(f"{', '.join(stale)}: differs from models.toml; run `ai102 configure`")


def pbtxt_from_config(config: pb.ModelConfig) -> str:
    text: str = text_format.MessageToString(config)
    if not config.max_batch_size:
        # Triton sets a missing max_batch_size by itself, and protobuf prints no zero.
        text = text.replace("\n", "\nmax_batch_size: 0\n", 1)
    return GENERATED.format(source="models.toml") + text
