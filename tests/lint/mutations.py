"""Valid model folders, mutated: what the linter says of each is compared with what the real server does."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from random import Random

from . import (
    mutations_ensembles,
    mutations_files,
    mutations_instances,
    mutations_schedulers,
    mutations_settings,
    mutations_steps,
    mutations_syntax,
    mutations_tensors,
)
from .mutations_edits import NAME, Edit, Files, Kind
from .mutations_seeds import PARTS, SEEDS

SEED = 102
MODULES = (
    mutations_syntax,
    mutations_tensors,
    mutations_schedulers,
    mutations_instances,
    mutations_files,
    mutations_settings,
    mutations_ensembles,
    mutations_steps,
)
KINDS: Mapping[str, Kind] = {name: kind for module in MODULES for name, kind in module.KINDS.items()}
PAIRS = "two_mutations_at_once"
PAIR_COUNT = 60


@dataclass(frozen=True)
class Mutation:
    """One mutated model; `name` is that of its folder."""

    kind: str
    name: str
    seed: str
    files: Files


def mutations(most: int | None = None) -> list[Mutation]:
    """All of them, or at most so many of a kind; the same ones each time."""
    made = [mutation for name, kind in KINDS.items() for mutation in list(of_kind(name, kind))[:most]]
    return [*made, *pairs()]


def of_kind(name: str, kind: Kind) -> Iterator[Mutation]:
    """Every edit at least once, as long as `most` allows it, on seeds drawn by lot."""
    random = Random(f"{SEED} {name}")
    drawn: list[tuple[int, int, str, Files]] = []
    for place, edit in enumerate(kind.edits):
        changed = [(seed, edit(SEEDS[seed])) for seed in kind.seeds]
        usable = [(seed, files) for seed, files in changed if files is not None]
        if not usable:
            raise ValueError(f"{name}: edit {place} changes none of {', '.join(kind.seeds)}: one of them must have it")
        random.shuffle(usable)
        drawn += [(turn, place, *found) for turn, found in enumerate(usable)]
    drawn.sort(key=lambda one: one[:2])
    for number, (_, _, seed, files) in enumerate(drawn[: kind.most]):
        yield Mutation(name, f"{name}_{number:02}", seed, files)


def pairs() -> Iterator[Mutation]:
    """Two edits of different kinds on the same seed."""
    random = Random(f"{SEED} {PAIRS}")
    edits: list[tuple[Edit, str]] = [
        (edit, seed) for name, kind in KINDS.items() for edit, seed in product(kind.edits, kind.seeds)
    ]
    number = 0
    while number < PAIR_COUNT:
        (first, seed), (second, other) = random.sample(edits, 2)
        files = first(SEEDS[seed]) if seed == other else None
        files = second(files) if files is not None else None
        if files is not None:
            yield Mutation(PAIRS, f"{PAIRS}_{number:02}", seed, files)
            number += 1


def write_models(root: Path, made: list[Mutation]) -> None:
    """Write the mutated models and the steps of the ensembles as one repository."""
    for name, files in (*PARTS.items(), *((mutation.name, mutation.files) for mutation in made)):
        for place, content in files.items():
            path = root / name / place.replace(NAME, name)
            if place.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            raw = content.encode() if isinstance(content, str) else content
            path.write_bytes(raw.replace(NAME.encode(), name.encode()))
