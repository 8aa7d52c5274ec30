"""The releases that are tried: those that scripts make, and folders that somebody else made."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ai102.errors import UserError
from tests.judging.bad.repository import BAD, GOOD

# Of texts, whose pipeline the replicas do not serve: tests/judging judges it.
LEFT_OUT = ("truncated tokenizer",)
ANOTHER_SERVER = "another server image"
GOOD_FOLDER = "good"  # what the name of a folder begins with that is to be promoted


@dataclass(frozen=True)
class Release:
    """`change` is made to a copy of the repository in service; with `another_server` the server's image is another."""

    name: str
    is_good: bool
    change: Callable[[Path], None] = lambda repository: None
    another_server: bool = False


def _made(name: str) -> Release:
    pipeline, change = {**BAD, **GOOD}[name]
    return Release(name, name in GOOD, lambda repository: change(repository / pipeline))


RELEASES = {
    **{name: _made(name) for name in (*BAD, *GOOD) if name not in LEFT_OUT},
    ANOTHER_SERVER: Release(ANOTHER_SERVER, True, another_server=True),
}


def release_from(text: str) -> Release:
    """Of a name, or of a folder with pipelines that take the place of those in service. Raises UserError."""
    if text in RELEASES:
        return RELEASES[text]
    folder = Path(text)
    if not any(folder.glob("*/config.pbtxt")):
        raise UserError(
            f"there is no release {text!r}, and no folder of that name with pipelines: there are {', '.join(RELEASES)}"
        )
    return Release(folder.name, folder.name.startswith(GOOD_FOLDER), partial(_replaced, folder))


def names(tried: Sequence[str], *, good: bool) -> list[str]:
    """Those of the catalogue, and what else was tried."""
    own = [release.name for release in RELEASES.values() if release.is_good is good]
    others = dict.fromkeys(name for name in tried if name not in RELEASES and name.startswith(GOOD_FOLDER) is good)
    return [*own, *others]


def _replaced(folder: Path, repository: Path) -> None:
    for pipeline in folder.iterdir():
        if (pipeline / "config.pbtxt").is_file():
            shutil.rmtree(repository / pipeline.name, ignore_errors=True)
            shutil.copytree(pipeline, repository / pipeline.name)
