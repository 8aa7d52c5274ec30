"""The network that a step of the build works on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ai102.contract import Network
from ai102.progress import Reporter

if TYPE_CHECKING:
    from ai102.weights.source import Source


@dataclass(frozen=True)
class Subject:
    """One network of the contract, where its weights come from, and the reporter of its steps."""

    name: str
    network: Network
    source: Source
    report: Reporter
    root: Path  # files are shown by their path from here

    @property
    def tokenizer_file(self) -> Path | None:
        return self.source.tokenizer_file

    def shown(self, file: Path) -> Path:
        return file.relative_to(self.root)
