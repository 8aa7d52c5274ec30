"""A contract and the folders around it: where files are read, and where they are written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ai102 import contract as spec
from ai102 import weights
from ai102.build.versions import Builds
from ai102.contract import Contract, Network, Recipe
from ai102.errors import UserError
from ai102.weights.source import Source


@dataclass(frozen=True)
class Workspace:
    """A contract and the folders around it."""

    root: Path  # everything is written below it
    contract: Contract
    shelf: Path | None = None  # the folder that holds calibration/, where that is not `root`

    @classmethod
    def of(cls, contract_file: Path) -> Workspace:
        """The contract in that file and the folders around it. Raises UserError when it cannot be read."""
        return cls.around(contract_file, spec.load(contract_file))

    @classmethod
    def around(cls, contract_file: Path, contract: Contract) -> Workspace:
        """The folders of a contract: its own, or build/NAME of the first folder above it that holds calibration/sets.

        So a contract kept aside, such as loadtest/resnet50.toml, uses the same sets and writes nothing that the
        main one serves.
        """
        folder, shelf = contract_file.parent, home_of(contract_file)
        return cls(root_of(contract_file), contract, None if shelf == folder else shelf)

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
        """Where a search keeps the recipe of a network; a kind of CPU, or "tensorrt", may need one of its own."""
        folder = self.home / "calibration" / "recipes"
        own = folder / f"{name}.{kind}.toml"
        return own if own.is_file() else folder / f"{name}.toml"

    def has_own_recipe(self, name: str, kind: str) -> bool:
        """Whether a recipe was found for that very kind of CPU beside another kind's, and the contract has none."""
        is_own = self.recipe_file(name, kind).name == f"{name}.{kind}.toml"
        return is_own and self.network(name).quantization is None

    def engines_file(self, name: str) -> Path:
        """Where the engine that was measured to be the fastest is kept, by kind of CPU."""
        return self.home / "calibration" / "engines" / f"{name}.toml"

    def build(self, name: str) -> Path:
        return self.root / "build" / name

    def builds(self, name: str) -> Builds:
        """The builds of a network's models in model_repository, and those that a rollback took out."""
        network = self.network(name)
        models = [f"{name}_{precision}" for precision in network.precisions]
        if network.text:
            models.append(f"{name}_tokenize")  # its tokenizer comes with the checkpoint
        return Builds(name, tuple(models), self.repository, self.build(name) / "withdrawn")

    def qdq_file(self, name: str) -> Path:
        """The graph for TensorRT."""
        return self.build(name) / "tensorrt.onnx"

    @property
    def ranges_folder(self) -> Path:
        return self.root / "calibration" / "ranges"

    def ranges(self, name: str, recipe: Recipe) -> Path:
        """One file for each method, since two targets may have recipes of different ones."""
        method = recipe.method if recipe.percentile is None else f"{recipe.method}-{recipe.percentile:g}"
        return self.ranges_folder / f"{name}.{method}.json"

    def network(self, name: str) -> Network:
        """Raises UserError when there is no network of that name."""
        if name not in self.contract.networks:
            raise UserError(f"no network {name} in models.toml; there are {', '.join(self.contract.networks)}")
        return self.contract.networks[name]

    def source(self, name: str) -> Source:
        return weights.find(name, self.network(name), self.home, self.build(name))


def root_of(contract_file: Path) -> Path:
    """Where everything of that contract is written; it need not be there yet."""
    shelf = home_of(contract_file)
    return shelf if shelf == contract_file.parent else shelf / "build" / contract_file.stem


def home_of(contract_file: Path) -> Path:
    """The first folder above a contract that holds calibration/sets, or else its own."""
    folder = contract_file.parent
    above = [folder, *folder.absolute().parents]
    return next((place for place in above if (place / "calibration" / "sets").is_dir()), folder)
