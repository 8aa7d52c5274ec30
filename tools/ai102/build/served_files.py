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
    """`files` by their names there, OWN among them; `choices` by kind of CPU, empty where ONNX Runtime computes OWN.

    `elsewhere` are the files of other models that choices name, by the path in the choice.
    """

    files: dict[str, Path]
    choices: Mapping[str, Choice] = field(default_factory=dict)
    elsewhere: dict[str, Path] = field(default_factory=dict)

    @property
    def record(self) -> str | None:
        """The content of model.engines.json; None where there is none."""
        if not self.choices:
            return None
        return json.dumps({cpu: choice._asdict() for cpu, choice in self.choices.items()}, indent=1) + "\n"

    @property
    def identity(self) -> str:
        """One hash of all: two builds are the same where it is the same, whatever version holds a file elsewhere."""
        contents = {name: artifact.sha256_of_file(file) for name, file in (self.files | self.elsewhere).items()}
        choices = [(cpu, choice.engine, contents[choice.file]) for cpu, choice in sorted(self.choices.items())]
        return artifact.sha256_of_text(repr((sorted((name, contents[name]) for name in self.files), choices)))


def file_for(cpu: str) -> str:
    """The name of the file for another kind of CPU than the one that built it."""
    return f"model.{cpu}.onnx"


def others_in(folder: Path) -> list[Path]:
    """The files for other kinds of CPU that a version folder holds."""
    return sorted(file for file in folder.glob("model.*.onnx") if file.is_file())
