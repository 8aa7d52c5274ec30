"""Brings a user's own network into models.toml, built and configured, and takes one out again; whole or not at all."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ai102 import artifact, weights
from ai102.build import verbs
from ai102.build.lock import building, opened
from ai102.build.workspace import Workspace, home_of, root_of
from ai102.configs import configure
from ai102.contract import Contract, Network, contract_from_text, edits
from ai102.contract.goals import TIMES_NETWORKS
from ai102.contract.tasks import FLOATS, budget_example
from ai102.errors import UserError
from ai102.progress import Reporter
from ai102.samples.read import calibration_and_test
from ai102.weights.source import Wish

P99_MS = 100.0
# By task: the generic ensembles, as (name, steps, inputs, outputs); the network's own output stands for None.
_ENSEMBLES: Mapping[str, Sequence[tuple[str, tuple[str, ...], tuple[str, ...], tuple[str | None, ...]]]] = {
    "image-classification": (
        ("classify", ("decode", "network", "label"), ("image",), ("label", "score")),
        ("score", ("decode", "network"), ("image",), (None,)),
    ),
    "text-classification": (
        ("classify", ("tokenize", "network", "label"), ("text",), ("label", "score", "truncated")),
        ("score", ("tokenize", "network"), ("text",), (None, "truncated")),
    ),
    "text-embedding": (("embed", ("tokenize", "network"), ("text",), (None, "truncated")),),
    "token-classification": (
        ("tag", ("tokenize", "network", "label"), ("text",), ("label", "score", "span", "truncated")),
    ),
}


@dataclass(frozen=True)
class Addition:
    """A new network: what a person says, and what is chosen for them."""

    source: str
    wish: Wish
    calibration_set: str | None = None
    p99_ms: float = P99_MS
    is_built: bool = True


def add(contract_file: Path, addition: Addition, report: Reporter) -> Contract:
    """Write the network into `contract_file`, build it and configure model_repository; returns the new contract.

    Raises UserError where the source cannot be served, the name is taken, or what the source says does not hold.
    Then, and when it is interrupted, models.toml is what it was and no file of the network stays. What others write
    into models.toml while the network is built is kept.
    """
    name, wish = addition.wish.name, replace(addition.wish, home=home_of(contract_file))
    _check_name(contract_file, name)
    table = _table(addition, weights.propose(addition.source, wish))
    tables = {("networks", name): table, **_ensembles(name, table)}
    _with_tables(contract_file, name, tables)  # what cannot be a contract is said before anything is written
    with building(root_of(contract_file), report.say):
        _, contract = _with_tables(contract_file, name, tables)
        workspace = Workspace.around(contract_file, contract)
        models = models_of(contract, name)
        _check_folders(workspace, models)
        if addition.calibration_set:
            calibration_and_test(workspace.sets, addition.calibration_set)  # a mistake in it costs no export
        with _undone_on_failure(workspace, name, models):
            if addition.is_built:
                verbs.engine(workspace, name, report)
            text, contract = _with_tables(contract_file, name, tables)  # somebody may have edited it meanwhile
            configure.write_models(contract, workspace.repository, models)
            artifact.write_text(contract_file, text)
    return contract


def remove(contract_file: Path, name: str) -> list[str]:
    """Take the network, the ensembles made of its models alone, and all that was built for it out.

    Returns what was done, a line each. Raises UserError, and changes nothing, when there is no such network or an
    ensemble joins it with another.
    """
    done: list[str] = []
    with opened(contract_file, done.append) as workspace:
        workspace.network(name)
        models = models_of(workspace.contract, name)
        ensembles = [model for model in models if model in workspace.contract.ensembles]
        for key in ensembles:
            steps = {step.model for step in workspace.contract.ensembles[key].steps}
            if steps - set(models):
                raise UserError(
                    f"ensembles.{key} joins {name} with other networks: take it out of {contract_file.name} first"
                )
        text = contract_file.read_text(encoding="utf-8")
        for kind, key in (*(("ensembles", key) for key in ensembles), ("networks", name)):
            text = edits.without_table(text, kind, key)
        artifact.write_text(contract_file, text)
        done.append(f"{contract_file.name}: took out {', '.join((name, *ensembles))}")
        for folder in [workspace.repository / model for model in models]:
            if folder.is_dir():
                configure.clear_model(folder)
                done.append(f"{folder}: {'files that were not made here stay' if folder.exists() else 'removed'}")
        _forget(workspace, name)
    return done


def next_steps(contract: Contract, contract_file: Path, name: str, *, is_built: bool) -> list[str]:
    """What to type now, a line each."""
    network = contract.networks[name]
    ensembles = [model for model in models_of(contract, name) if model in contract.ensembles]
    served = ", ".join(models_of(contract, name))
    repository = Workspace.around(contract_file, contract).repository
    lines = [f"{name}: in {contract_file.name}; {repository.name} holds {served}"]
    if not is_built:
        lines.append(f"{name}: build it: ai102 engine {name}")
    lines.append(f"{name}: serve it: tritonserver --model-repository={repository.name}")
    if ensembles:
        item = "cat.png" if network.task == "image-classification" else "'a text'"
        lines.append(f"{name}: ask it: ai102 infer {ensembles[0]} {item}")
    can_be_int8 = network.task != "tensors" or network.outputs[0].type in FLOATS
    if not network.calibration_set and can_be_int8:
        lines.append(
            f"{name}: serves FP32; for INT8 declare data in calibration/sets/{name}.toml, then write "
            f'calibration_set = "{name}" and budget = {budget_example(network.task)} into its table'
        )
    return lines


def models_of(contract: Contract, name: str) -> list[str]:
    """The models of a network and the ensembles that have one of them, in the contract's order."""
    mine = [model.name for model in contract.served_models if model.network == name]
    return mine + [key for key, table in contract.ensembles.items() if any(step.model in mine for step in table.steps)]


def _with_tables(
    contract_file: Path, name: str, tables: Mapping[tuple[str, str], Mapping[str, Any]]
) -> tuple[str, Contract]:
    """models.toml as it is now, with the tables. Raises UserError when that is no contract."""
    _check_name(contract_file, name)
    text = edits.with_tables(_text_of(contract_file), tables)
    return text, contract_from_text(text, contract_file)


def _text_of(contract_file: Path) -> str:
    return contract_file.read_text(encoding="utf-8") if contract_file.is_file() else ""


def _check_name(contract_file: Path, name: str) -> None:
    """Raises UserError when `name` is none, or not free."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise UserError(f'the name "{name}" cannot be a folder and a key: write letters, digits and _, a letter first')
    table = _parsed(_text_of(contract_file), contract_file)
    for kind in ("networks", "ensembles"):
        if name in table.get(kind, {}):
            raise UserError(
                f"{contract_file.name}: {kind}.{name} is there already: choose another name, or `ai102 remove`"
            )


def _check_folders(workspace: Workspace, models: Sequence[str]) -> None:
    """Raises UserError where a new model's folder holds what was not made here."""
    for folder in (workspace.repository / model for model in models):
        if foreign := next(
            (file for file in folder.rglob("*") if file.is_file() and not configure.is_ours(file)), None
        ):
            raise UserError(f"{foreign} is there already: choose another name, or move that model away")


def _parsed(text: str, contract_file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise UserError(f"{contract_file}: not valid TOML: {err}") from err


def _table(addition: Addition, proposed: Mapping[str, Any]) -> dict[str, Any]:
    """The network's table, its keys in the order of spec.Network."""
    wish, table = addition.wish, dict(proposed)
    batch = table.pop("max_batch_size", None)
    if wish.max_batch_size is not None:
        batch = wish.max_batch_size
    table |= {"source": addition.source, "task": wish.task, "allow_pickle": wish.allow_pickle or None}
    table |= {
        "latency_goal": {"p99_ms": addition.p99_ms},
        "batching": {"max_batch_size": 32 if batch is None else batch},
    }
    if wish.task != "tensors":  # whose made-up values might be none that the network takes
        table["warmup"] = {"batch_sizes": [1]}
    if addition.calibration_set:
        table["calibration_set"] = addition.calibration_set
        table |= tomllib.loads(f"budget = {budget_example(wish.task)}")
    return {key: table[key] for key in Network.model_fields if key in table}


def _ensembles(name: str, table: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    precision = "int8" if table.get("calibration_set") else "fp32"
    ensembles = {}
    for verb, steps, inputs, outputs in _ENSEMBLES.get(table["task"], ()):
        models = [f"{name}_{precision if step == 'network' else step}" for step in steps]
        gives = [output or table["outputs"][0]["name"] for output in outputs]
        goals = {"success_percent": 99.9, "p99_ms": TIMES_NETWORKS * table["latency_goal"]["p99_ms"]}
        ensembles["ensembles", f"{verb}_{name}"] = {
            "steps": models, "inputs": list(inputs), "outputs": gives, "goals": goals,
        }  # fmt: skip
    return ensembles


@contextmanager
def _undone_on_failure(workspace: Workspace, name: str, models: Sequence[str]) -> Iterator[None]:
    """Removes what the block wrote for the network when it does not end well."""
    there = {folder for folder in (workspace.root / "build", workspace.repository) if folder.is_dir()}
    try:
        yield
    except BaseException:
        for model in models:
            shutil.rmtree(workspace.repository / model, ignore_errors=True)
        _forget(workspace, name)
        for folder in {workspace.root / "build", workspace.repository} - there:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _forget(workspace: Workspace, name: str) -> None:
    """Remove what the steps before model_repository wrote."""
    shutil.rmtree(workspace.build(name), ignore_errors=True)
    for file in workspace.ranges_folder.glob(f"{name}.*"):  # a network's name has no dot
        file.unlink()
