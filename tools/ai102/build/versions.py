"""The builds of a network as Triton's version folders: a new one is the next number, old ones wait for a rollback."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ai102 import artifact
from ai102.build.served_files import OWN
from ai102.errors import UserError
from ai102_runtime.engine.record import choices_for
from ai102_runtime.engine.signature import ModelRefusedError

# What a build puts into a version folder; a Python model's own code, which git keeps there, is none of it.
BUILT = ("*.made.json", "model.onnx", "*.plan", "tokenizer.json")


@dataclass(frozen=True)
class Builds:
    """All builds of one network's models; a number belongs to one build, whichever of the models it changed."""

    network: str
    # Those that are built; `repository`/MODEL/NUMBER holds a build. A later one may compute an earlier one's file.
    models: tuple[str, ...]
    repository: Path
    withdrawn: Path  # /MODEL/NUMBER holds one that a rollback took out

    def installed(self, model: str) -> dict[int, Path]:
        """The folder of each build of `model` that Triton sees, oldest first."""
        return _numbered(self.repository / model)

    def newest(self, model: str) -> Path:
        """The folder of the build of `model` that is served. Raises UserError when there is none."""
        for folder in reversed(self.installed(model).values()):
            return folder
        raise UserError(f"{model} is not built yet: run `ai102 engine {self.network}`")

    def taken_out(self, model: str) -> dict[int, Path]:
        """The folder of each build of `model` that a rollback took out, oldest first."""
        return _numbered(self.withdrawn / model)

    def next_number(self) -> int:
        """One more than any number that was ever given and is still known."""
        return 1 + max((n for m in self.models for n in (*self.installed(m), *self.taken_out(m))), default=0)

    def folder_for(self, model: str, file: str, made_from: str, number: int) -> Path | None:
        """Where a `file` made from the input of hash `made_from` belongs.

        The newest build if it has no such file yet or has one made from the same, else the folder `number`.
        None when a rollback took that very build out.
        """
        if not self.installed(model):
            return self.repository / model / str(number)
        folder = self.newest(model)
        if not (folder / file).exists() or made_from in _inputs(folder / file):
            return folder
        if any(made_from in _inputs(old / file) for old in self.taken_out(model).values()):
            return None
        return self.repository / model / str(number)

    def prune(self, keep: int) -> list[Path]:
        """Remove all but the newest `keep` builds of each model; returns the folders that were removed.

        A folder stays where a build that stays names a file of it, and where no build put some of its files there.
        """
        places = (self.installed, self.taken_out)
        named = {
            version
            for model in self.models
            for folders in places
            for folder in list(folders(model).values())[-keep:]
            for version in _named_by(folder)
        }
        removed = []
        for model in reversed(self.models):
            for folders in places:
                for folder in list(folders(model).values())[:-keep]:
                    if (model, folder.name) not in named and _is_only_built(folder):
                        _remove(folder)
                        removed.append(folder)
        return removed

    def roll_back(self) -> list[Path]:
        """Take the newest build out of the repository; returns the folders it had.

        Raises UserError, and changes nothing, when a model would be left without any build.
        """
        newest = max((number for model in self.models for number in self.installed(model)), default=None)
        if newest is None:
            raise UserError(f"{self.network} was never built: run `ai102 engine {self.network}`")
        changed = [model for model in reversed(self.models) if newest in self.installed(model)]
        for model in changed:
            if len(self.installed(model)) == 1:
                raise UserError(f"{model} has no build but version {newest}: there is nothing to roll back to")
        folders = [self.installed(model)[newest] for model in changed]
        for folder in folders:
            _move(folder, self.withdrawn / folder.parent.name / folder.name)
        return folders

    def undo(self) -> list[Path]:
        """Put the build that was taken out last back; returns its folders. Raises UserError when there is none."""
        last = max((number for model in self.models for number in self.taken_out(model)), default=None)
        if last is None:
            raise UserError(f"no build of {self.network} was rolled back: there is nothing to undo")
        returned = []
        for model in self.models:
            if folder := self.taken_out(model).get(last):
                returned.append(_move(folder, self.repository / model / str(last)))
        return returned


@contextmanager
def incoming(folder: Path) -> Iterator[Path]:
    """`folder` where it is there already, else one that takes its name, whole, if the block ends well.

    Triton serves the highest number it finds, so that a new version must never be seen half-written.
    """
    if folder.exists():
        yield folder
        return
    with artifact.temporary_folder(folder.parent, 0o777) as aside:
        yield aside
        aside.replace(folder)


def _numbered(model: Path) -> dict[int, Path]:
    """Version folders as Triton reads them, those with something built in them."""
    if not model.is_dir():
        return {}
    by_number = {int(path.name): path for path in model.iterdir() if path.name.isdecimal() and path.name[0] != "0"}
    return {number: by_number[number] for number in sorted(by_number) if _is_built(by_number[number])}


def _is_built(folder: Path) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in BUILT)


def _named_by(folder: Path) -> set[tuple[str, str]]:
    """The model and version of each file of another model that a build computes on some kind of CPU."""
    try:
        files = [Path(choice.file) for choice in choices_for(folder / OWN).values()]
    except ModelRefusedError:  # the record is damaged; the next build writes it anew
        return set()
    return {(file.parts[-3], file.parts[-2]) for file in files if file.parent != Path()}


def _inputs(file: Path) -> Sequence[str]:
    return tuple(artifact.inputs_of(file).values())


def _is_only_built(folder: Path) -> bool:
    """Whether nothing in `folder` is kept in git, as the Python models of version 1 are."""
    return folder.name != "1" or not any(folder.glob("*.py"))


def _remove(folder: Path) -> None:
    """Remove a version: at no moment is there a part of one under its number."""
    with artifact.temporary_folder(folder.parent) as aside:
        folder.replace(aside / folder.name)


def _move(folder: Path, place: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    try:
        folder.replace(place)
    except OSError as err:
        if err.errno != errno.EXDEV:
            raise
        with incoming(place) as aside:
            shutil.copytree(folder, aside, dirs_exist_ok=True)
        _remove(folder)
    return place
