"""A contract and the folders around it: where things are found, and where they are made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ai102 import contract as spec
from ai102 import weights
from ai102.build.versions import Builds
from ai102.contract import Contract, Network
from ai102.errors import UserError
from ai102.weights.source import Source


@dataclass(frozen=True)
class Workspace:
    """A contract and the folders around it."""

    root: Path  # everything is made below it
    contract: Contract
    shelf: Path | None = None  # the folder that holds calibration/, where that is not `root`

    @classmethod
    def of(cls, contract_file: Path) -> Workspace:
        """The contract in that file and the folders around it. Raises UserError when it cannot be read."""
        return cls.around(contract_file, spec.load(contract_file))

    @classmethod
    def around(cls, contract_file: Path, contract: Contract) -> Workspace:
        """The folders of a contract: its own, or build/NAME of the first folder above it that holds calibration/sets.

        So a contract kept aside, such as loadtest/resnet50.toml, uses the same sets and makes nothing that the
        main one serves.
        """
        folder, shelf = contract_file.parent, home_of(contract_file)
        if shelf == folder:
            return cls(folder, contract)
        return cls(shelf / "build" / contract_file.stem, contract, shelf)

    @property
    def repository(self) -> Path:
        return self.root / "model_repository"

    @property
    def home(self) -> Path:
        """Files that a contract names are named from here."""
        return self.shelf or self.root

    @property
    def sets(self) -> Path:
        return self.home / "calibration" / "sets"

    def recipe_file(self, name: str, kind: str) -> Path:
        """Where the recipe found for a network is kept; a kind of CPU, or "tensorrt", may need one of its own."""
        folder = self.home / "calibration" / "recipes"
        own = folder / f"{name}.{kind}.toml"
        return own if own.is_file() else folder / f"{name}.toml"

    def build(self, name: str) -> Path:
        return self.root / "build" / name

    def builds(self, name: str) -> Builds:
        """The builds of a network's models in model_repository, and those that a rollback took out."""
        network = self.network(name)
        models = [f"{name}_{precision}" for precision in network.precisions]
        if network.text:
            models.append(f"{name}_tokenize")  # its tokenizer comes with the checkpoint
        return Builds(name, tuple(models), self.repository, self.build(name) / "withdrawn")

    def ranges(self, name: str) -> Path:
        return self.root / "calibration" / "ranges" / f"{name}.json"

    def network(self, name: str) -> Network:
        """Raises UserError when there is no network of that name."""
        if name not in self.contract.networks:
            raise UserError(f"no network {name} in models.toml; there are {', '.join(self.contract.networks)}")
        return self.contract.networks[name]

    def source(self, name: str) -> Source:
        return weights.find(name, self.network(name), self.home, self.build(name))


def home_of(contract_file: Path) -> Path:
    """The first folder above a contract that holds calibration/sets, or else its own."""
    folder = contract_file.parent
    above = [folder, *folder.absolute().parents]
    return next((place for place in above if (place / "calibration" / "sets").is_dir()), folder)
