"""What the build measured of each network's served models, out of the manifests beside their files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ai102 import artifact
from ai102.build import inventory
from ai102.build.inventory import MEASURED, TARGETS
from ai102.build.served_files import others_in
from ai102.build.workspace import Workspace
from ai102.contract import Network
from ai102.errors import UserError
from ai102.release.document import Bound, Engine, Measured, Speed

# Facts that are numbers and say nothing about answers.
NO_FIGURES = ("int8_layers",)


def measured_of(workspace: Workspace) -> dict[str, Measured]:
    """By model. Raises UserError where a model is not built, was judged by another contract, or is over its budget."""
    served = {
        model: (name, network, folder)
        for name, network in workspace.contract.networks.items()
        for model in (f"{name}_{precision}" for precision in network.precisions)
        if (folder := workspace.builds(name).newest(model))
    }
    files = {model: _file(folder) for model, (_, _, folder) in served.items()}
    manifests = {model: _manifest(file) for model, file in files.items()}
    for row in inventory.rows(workspace):
        _check(row)
    return {
        model: _measured(name, network, files[model], manifests[model]["facts"])
        for model, (name, network, _) in served.items()
    }


def _file(folder: Path) -> Path:
    """The file that a version folder serves: a plan, or the ONNX file for the kind of CPU that built it."""
    others = others_in(folder)
    files = [file for file in sorted(folder.iterdir()) if file.suffix in TARGETS and file not in others]
    if not files:
        raise UserError(f"{folder}: has no model file: run `make engine`")
    return files[0]


def _manifest(file: Path) -> Mapping[str, Any]:
    """What the build wrote beside `file`. Raises UserError where it is not whole, or of another content."""
    place = file.with_name(f"{file.name}.made.json")
    try:
        manifest = json.loads(place.read_text(encoding="utf-8"))
        facts, sha256 = manifest["facts"], manifest["sha256"]
        if not isinstance(facts, dict):
            raise TypeError("its facts are no table")
    except FileNotFoundError as err:
        raise UserError(f"{place}: no such file, so nothing is known of the model: run `make engine`") from err
    except (ValueError, KeyError, TypeError) as err:
        raise UserError(f"{place}: not as a build writes it ({_said(err)}): run `make engine`") from err
    if sha256 != artifact.sha256_of_file(file):
        raise UserError(f"{file}: somebody has changed it since it was built and judged: run `make engine`")
    return dict(manifest)


def _check(row: inventory.Row) -> None:
    if not row.config_is_fresh:
        raise UserError(
            f"{row.model}: its files are not those of models.toml: run `ai102 configure`, then `make engine`"
        )
    if row.kind == "onnx" and not (row.versions and row.engines):
        raise UserError(f"{row.model} is not built: run `make engine`")
    if not row.is_judged_anew:
        raise UserError(f"{row.model} was judged before its table in models.toml was changed: run `make engine`")
    if row.budget_met is False:
        raise UserError(f"{row.model} is over its accuracy budget ({row.accuracy}): run `make engine`")


def _measured(name: str, network: Network, file: Path, facts: Mapping[str, Any]) -> Measured:
    try:
        return Measured(
            network=name,
            version=int(file.parent.name),
            precision=facts.get("precision", ""),
            size=file.stat().st_size,
            sha256=artifact.sha256_of_file(file),
            budget=_bounds(network, facts) if facts.get("precision") == "int8" else {},
            figures={
                key: float(value)
                for key, value in facts.items()
                if isinstance(value, int | float) and not isinstance(value, bool) and key not in NO_FIGURES
            },
            summary=facts.get("summary", ""),
            speed=_speed(facts["speed"]) if facts.get("speed") else None,
            engine=_engine(facts["engine"]) if facts.get("engine") else None,
        )
    except (KeyError, TypeError, ValueError, StopIteration) as err:
        raise UserError(f"{file}.made.json: not as a build writes it ({_said(err)}): run `make engine`") from err


def _bounds(network: Network, facts: Mapping[str, Any]) -> dict[str, Bound]:
    limits = network.budget.model_dump(exclude_none=True) if network.budget else {}
    return {
        bound: Bound(limit=limit, measured=facts[MEASURED[bound]])
        for bound, limit in limits.items()
        if MEASURED[bound] in facts
    }


def _speed(speed: Mapping[str, Any]) -> Speed:
    return Speed(batch=speed["batch"], fp32_ms=speed["fp32_ms"], int8_ms=speed["int8_ms"], ratio=speed["ratio"])


def _engine(chosen: Mapping[str, Any]) -> Engine:
    tried = next(
        each
        for each in chosen["tried"]
        if (each["engine"], each["precision"]) == (chosen["engine"], chosen["precision"])
    )
    return Engine(
        name=chosen["engine"],
        precision=chosen["precision"],
        cpu=chosen["cpu"],
        cpu_name=chosen["cpu_name"],
        threads=chosen["threads"],
        ms=tried.get("ms", {}),
    )


def _said(err: Exception) -> str:
    return f"no {err}" if isinstance(err, KeyError) else " ".join(str(err).split())[:160] or type(err).__name__
