"""What there is: every model of the contract, its builds, whether its files are fresh, and whether a server has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ai102 import artifact
from ai102.build import plans
from ai102.build.judged import is_judged_by
from ai102.build.served_files import others_in
from ai102.build.versions import Builds
from ai102.build.workspace import Workspace
from ai102.client import Client
from ai102.configs import configure
from ai102.contract import SEALED, Budget, Network, ServedModel

# What the manifest tells about each bound of a budget.
MEASURED = {
    "min_top1_percent": "fp32_top1_percent",
    "max_top1_drop_points": "top1_drop_points",
    "min_mean_cosine": "mean_cosine",
    "min_cosine": "min_cosine",
    "min_nearest_neighbour_percent": "nearest_neighbour_percent",
    "min_token_agreement_percent": "token_agreement_percent",
}
# By file ending: the target whose engine it is.
TARGETS = {".onnx": "onnxruntime", ".plan": "tensorrt"}


@dataclass(frozen=True)
class Row:
    """One model of model_repository; what does not apply to it is empty or None."""

    model: str
    kind: str
    source: str = ""
    versions: tuple[int, ...] = ()  # builds in model_repository, oldest first; the last is served
    rolled_back: tuple[int, ...] = ()
    megabytes: float | None = None
    precision: str = ""
    accuracy: str = ""
    budget_met: bool | None = None  # None where there is no budget
    is_judged_anew: bool = True  # False where models.toml was changed since the INT8 model was judged
    engines: tuple[str, ...] = ()  # what computes the served version: TensorRT, or the engine chosen for the CPU
    config_is_fresh: bool = True
    server: str = ""  # the server's word, such as READY; empty where none was asked

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def rows(workspace: Workspace, url: str | None = None) -> list[Row]:
    """A row for each model that the contract makes Triton serve.

    `url` names a server to ask which models it has loaded. Raises UserError when it does not answer.
    """
    states = _states(url) if url else {}
    stale = _stale_models(workspace)
    return [
        _row(workspace, model, model.name not in stale, states.get(model.name, "not there" if url else ""))
        for model in workspace.contract.served_models
    ]


def _row(workspace: Workspace, model: ServedModel, is_fresh: bool, state: str) -> Row:
    if model.kind == "sealed":
        return Row(model.name, model.kind, model.name.removeprefix(SEALED), config_is_fresh=is_fresh, server=state)
    if model.network is None:
        steps = " > ".join(step.model for step in workspace.contract.ensembles[model.name].steps)
        return Row(model.name, "ensemble", steps, config_is_fresh=is_fresh, server=state)
    builds = workspace.builds(model.network)
    network = workspace.contract.networks[model.network]
    row = Row(model.name, model.kind, config_is_fresh=is_fresh, server=state)
    if model.name not in builds.models:
        return row
    facts = _build_facts(builds, model.name, network)
    return Row(**{**asdict(row), "source": network.source if model.kind == "onnx" else "", **facts})


def _build_facts(builds: Builds, model: str, network: Network) -> Mapping[str, Any]:
    installed = builds.installed(model)
    row: dict[str, Any] = {"versions": tuple(installed), "rolled_back": tuple(builds.taken_out(model))}
    if not installed:
        return row
    newest = builds.newest(model)
    others = others_in(newest)
    engines = [file for file in sorted(newest.iterdir()) if file.suffix in TARGETS and file not in others]
    if not engines:
        return row
    facts = artifact.facts_of(engines[0])
    return row | {
        "is_judged_anew": is_judged_by(network, facts),
        "megabytes": round(sum(file.stat().st_size for file in engines) / 1e6, 2),
        "precision": facts.get("precision", ""),
        "accuracy": facts.get("summary", ""),
        "budget_met": _keeps_to(network.budget, facts) if network.budget and facts.get("precision") == "int8" else None,
        "engines": tuple(dict.fromkeys(_engine(file) for file in engines)),
    }


def _engine(file: Path) -> str:
    """What computes it: the target that it was built for, or what was chosen on the CPU of the build."""
    chosen: Any = artifact.facts_of(file).get("engine", {})
    return str(chosen.get("engine", TARGETS[file.suffix]))


def _keeps_to(budget: Budget, facts: Mapping[str, Any]) -> bool:
    """Whether what was measured when the build was judged keeps to the budget of today."""
    return all(
        limit is None or (key in facts and (facts[key] <= limit if is_most else facts[key] >= limit))
        for limit, key, is_most in (
            (getattr(budget, bound), key, bound.startswith("max_")) for bound, key in MEASURED.items()
        )
    )


def _stale_models(workspace: Workspace) -> set[str]:
    """Models whose generated files are those of neither target."""
    contract, repository = workspace.contract, workspace.repository
    by_target = [
        configure.drift(contract, repository),
        configure.drift(contract, repository, "tensorrt", plans.per_capability(workspace)),
    ]
    for_either = set.intersection(*(set(paths) for paths in by_target))
    return {Path(path).parts[0] for path in for_either}


def _states(url: str) -> dict[str, str]:
    """What the server says of each model, with the versions that are ready."""
    ready: dict[str, list[str]] = {}
    states: dict[str, str] = {}
    with Client(url) as client:
        for model in client.models():
            if model.state == "READY":
                ready.setdefault(model.name, []).append(model.version)
            states.setdefault(model.name, model.state or "not loaded")
    return states | {name: f"READY {', '.join(versions)}" for name, versions in ready.items()}
