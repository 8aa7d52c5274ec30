"""Ensembles that run in one process hold copies of what their steps were built to: kept equal to the builds served."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from ai102 import artifact
from ai102.build.served_files import OWN, others_in
from ai102.build.workspace import Workspace
from ai102.contract import network_step
from ai102_runtime.engine.record import record_of

RECORD = record_of(Path(OWN)).name
FILES = (OWN, RECORD, "tokenizer.json")


def ensembles_of(workspace: Workspace, network: str) -> list[str]:
    """The ensembles that run that network in their own process."""
    contract = workspace.contract
    models = {model.name: model for model in contract.served_models}
    return [
        name
        for name, ensemble in contract.ensembles.items()
        if ensemble.in_one_process and network_step(ensemble, models).network == network
    ]


def follow(workspace: Workspace, network: str) -> list[str]:
    """Give each of those ensembles the newest build of its steps; returns the names of those that changed."""
    builds = workspace.builds(network)
    changed = []
    for name in ensembles_of(workspace, network):
        steps = [step.model for step in workspace.contract.ensembles[name].steps if step.model in builds.models]
        copied = [_copy(builds.newest(model), place_of(workspace, name, model)) for model in steps]
        if any(copied):
            changed.append(name)
    return changed


def withdraw(workspace: Workspace, network: str, model: str) -> None:
    """Take the copies of a model's build out of the ensembles; without them these do not load."""
    for name in ensembles_of(workspace, network):
        shutil.rmtree(place_of(workspace, name, model), ignore_errors=True)


def place_of(workspace: Workspace, ensemble: str, model: str) -> Path:
    return workspace.repository / ensemble / "1" / model


def _copy(build: Path, place: Path) -> bool:
    files = [build / name for name in FILES if (build / name).is_file()] + others_in(build)
    kept = {file.name for file in files}
    stale = [file for file in (*(place / name for name in FILES), *others_in(place)) if file.name not in kept]
    changed = [artifact.remove(file) for file in stale]
    for file in files:
        made_from = {"build": artifact.sha256_of_file(file)}
        changed.append(artifact.make(place / file.name, made_from, partial(_write, file)))
    return any(changed)


def _write(file: Path, temporary: Path) -> dict[str, object]:
    if file.name == RECORD:
        # Paths to other models of the repository start a folder deeper here.
        text = file.read_text(encoding="utf-8").replace('"../', '"../../')
        temporary.write_text(text, encoding="utf-8")
    else:
        shutil.copyfile(file, temporary)
    return {"version": file.parent.name}
