"""What a version folder of a network's model holds: the file of each kind of CPU, and the record that tells them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ai102 import artifact
from ai102_runtime.engine.record import Choice

OWN = "model.onnx"


@dataclass(frozen=True)
class ServedFiles:
    """`files` by their names there, OWN among them; `choices` by kind of CPU, empty where ONNX Runtime computes OWN."""

    files: Mapping[str, Path]
    choices: Mapping[str, Choice] = field(default_factory=dict)

    @property
    def record(self) -> str | None:
        """The content of model.engines.json; None where there is none."""
        if not self.choices:
            return None
        return json.dumps({cpu: choice._asdict() for cpu, choice in self.choices.items()}, indent=1) + "\n"

    @property
    def identity(self) -> str:
        """One hash of all: two builds are the same where it is the same."""
        files = [(name, artifact.sha256_of_file(file)) for name, file in sorted(self.files.items())]
        return artifact.sha256_of_text(repr((files, self.record)))


def file_for(cpu: str) -> str:
    """The name of the file for another kind of CPU than the one that built it."""
    return f"model.{cpu}.onnx"


def others_in(folder: Path) -> list[Path]:
    """The files for other kinds of CPU that a version folder holds."""
    return sorted(file for file in folder.glob("model.*.onnx") if file.is_file())
