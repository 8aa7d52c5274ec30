"""Takes an INT8 model that does not keep to its budget any more out of model_repository."""

from __future__ import annotations

from pathlib import Path

from ai102 import artifact
from ai102.build import in_one_process
from ai102.build.served_files import OWN, others_in
from ai102.build.workspace import Workspace
from ai102.contract import Contract
from ai102.progress import Reporter
from ai102_runtime.engine.record import record_of


def withdraw_int8(workspace: Workspace, name: str, report: Reporter) -> None:
    """Remove what earlier builds installed of the network's INT8 model, and say what does not load without it."""
    model = f"{name}_int8"
    removed = [_remove_model(folder) for folder in workspace.builds(name).installed(model).values()]
    if not any(removed):
        return
    in_one_process.withdraw(workspace, name, model)
    broken = ", ".join(_ensembles_with(workspace.contract, model)) or "none"
    report.say(
        f"{name}: the {model} of an earlier build was taken out of {workspace.repository.name}, {name}_fp32 "
        f"stays; ensembles that cannot load without it: {broken}"
    )


def _remove_model(version_folder: Path) -> bool:
    """Whether there was one."""
    for file in (*others_in(version_folder), record_of(version_folder / OWN)):
        artifact.remove(file)
    return artifact.remove(version_folder / OWN)


def _ensembles_with(contract: Contract, model: str) -> list[str]:
    """The ensembles that cannot load without `model`."""
    return [name for name, table in contract.ensembles.items() if model in [step.model for step in table.steps]]
