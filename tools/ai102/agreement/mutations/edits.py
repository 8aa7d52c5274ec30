"""The parts of a mutation: the files of a model folder, and edits that give other files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

CONFIG = "config.pbtxt"
# Stands for the model's own name, in its files and in its config.
NAME = "$NAME"

# By path inside the model folder. A path that ends with a slash is an empty folder; "../$NAME_b/..." is a second model.
Files: TypeAlias = Mapping[str, str | bytes]
# None where the edit has nothing to change.
Edit: TypeAlias = Callable[[Files], Files | None]


@dataclass(frozen=True)
class Kind:
    """One kind of mutation: each edit is tried on each seed; `most` bounds how many of the pairs are kept."""

    edits: Sequence[Edit]
    seeds: Sequence[str]
    most: int


def kind(seeds: str, *edits: Edit, most: int = 12) -> Kind:
    return Kind(edits, seeds.split(), most)


def text_of(files: Files) -> str:
    content = files.get(CONFIG, "")
    return content if isinstance(content, str) else ""


def swap(old: str, new: str, times: int = 1) -> Edit:
    """Replace the first `times` places of a text in the config."""

    def edit(files: Files) -> Files | None:
        text = text_of(files)
        return {**files, CONFIG: text.replace(old, new, times)} if old in text else None

    return edit


def swaps(old: str, *news: str) -> list[Edit]:
    return [swap(old, new) for new in news]


def add(text: str) -> Edit:
    """Write more at the end of the config."""
    return lambda files: {**files, CONFIG: text_of(files) + text + "\n"} if text_of(files) else None


def adds(*texts: str) -> list[Edit]:
    return [add(text) for text in texts]


def rewrite(change: Callable[[str], str | bytes]) -> Edit:
    """Put something computed from the config in its place."""

    def edit(files: Files) -> Files | None:
        changed = change(text_of(files)) if text_of(files) else ""
        return {**files, CONFIG: changed} if changed != text_of(files) else None

    return edit


def put(place: str, content: str | bytes = "") -> Edit:
    return lambda files: {**files, place: content}


def drop(place: str) -> Edit:
    """Take away a file, or a folder with all in it."""

    def edit(files: Files) -> Files | None:
        kept = {path: content for path, content in files.items() if not path.startswith(place)}
        return kept if len(kept) < len(files) else None

    return edit


def move(place: str, to: str) -> Edit:
    """Give a file, or a folder with all in it, another name."""

    def edit(files: Files) -> Files | None:
        if not any(path.startswith(place) for path in files):
            return None
        return {to + path[len(place) :] if path.startswith(place) else path: what for path, what in files.items()}

    return edit


def both(*edits: Edit) -> Edit:
    """One edit after the other; None where one of them has nothing to change."""

    def edit(files: Files) -> Files | None:
        changed: Files | None = files
        for one in edits:
            changed = one(changed) if changed is not None else None
        return changed

    return edit
