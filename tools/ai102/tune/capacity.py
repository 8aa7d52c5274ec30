"""loadtest/capacity.json: the request rate of one replica of each model at its goal, and how it was measured."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ai102 import artifact
from ai102.errors import UserError
from ai102.host.cpu import cpu_name
from ai102.tune.search import Trial

NOTE = "Written by `ai102 tune`: requests per second that one replica carries with p99 under the goal."


def capacity_of(trial: Trial) -> dict[str, Any]:
    """The figures of a trial that met the goal."""
    assert trial.window is not None
    return {
        "requests_per_second_per_replica": round(trial.window.rate, 1),
        "p50_ms": round(trial.window.p50_ms, 3),
        "p99_ms": round(trial.window.p99_ms, 3),
        "config": trial.candidate.as_dict(),
    }


def write(file: Path, model: str, entry: Mapping[str, Any]) -> None:
    """Write the model's entry into the file; other entries stay. Raises UserError when the file has another format."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    artifact.write_text(file, merged(text, file, model, entry))


def merged(text: str, file: Path, model: str, entry: Mapping[str, Any]) -> str:
    """The file's text with the entry in it; `file` names it in errors."""
    try:
        entries = json.loads(text) if text else {}
        models = {**entries.get("models", {}), model: entry}
    except (json.JSONDecodeError, AttributeError, TypeError) as err:
        raise UserError(f"{file}: not what `ai102 tune` writes ({err}); move it away and run this again") from err
    return json.dumps({"note": NOTE, "models": dict(sorted(models.items()))}, indent=1) + "\n"


def machine() -> dict[str, Any]:
    return {"cpu": cpu_name(), "cores": os.cpu_count()}


def versions(tritonserver: str) -> dict[str, str]:
    versions = {"tritonserver": tritonserver, "python": platform.python_version()}
    return versions | {name: version(name) for name in ("ai102", "onnxruntime", "tritonclient")}


def today() -> str:
    return datetime.now(UTC).date().isoformat()
