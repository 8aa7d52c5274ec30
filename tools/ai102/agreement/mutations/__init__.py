"""Valid model folders, mutated: what the linter says of each is compared with what the real server does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from random import Random

from ai102.agreement.mutations import (
    completion,
    ensembles,
    files,
    instances,
    schedulers,
    settings,
    steps,
    syntax,
    tensors,
)
from ai102.agreement.mutations.edits import NAME, Edit, Files, Kind
from ai102.agreement.mutations.seeds import PARTS, SEEDS

SEED = 102
MODULES = (
    syntax,
    tensors,
    schedulers,
    instances,
    files,
    settings,
    ensembles,
    steps,
    completion,
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
    mutated = [mutation for name, kind in KINDS.items() for mutation in list(of_kind(name, kind))[:most]]
    return [*mutated, *pairs()]


def of_kind(name: str, kind: Kind) -> Iterator[Mutation]:
    """Every edit at least once, as long as `most` allows it, on seeds drawn by lot."""
    random = Random(f"{SEED} {name}")
    drawn: list[tuple[int, int, str, Files]] = []
    for place, edit in enumerate(kind.edits):
        changed = [(seed, edit(SEEDS[seed])) for seed in kind.seeds]
        usable = [(seed, content) for seed, content in changed if content is not None]
        if not usable:
            raise ValueError(f"{name}: edit {place} changes none of {', '.join(kind.seeds)}: one of them must have it")
        random.shuffle(usable)
        drawn += [(turn, place, *one) for turn, one in enumerate(usable)]
    drawn.sort(key=lambda one: one[:2])
    for number, (_, _, seed, changed_files) in enumerate(drawn[: kind.most]):
        yield Mutation(name, f"{name}_{number:02}", seed, changed_files)


def pairs() -> Iterator[Mutation]:
    """Two edits of different kinds on the same seed."""
    random = Random(f"{SEED} {PAIRS}")
    edits: list[tuple[Edit, str]] = [
        (edit, seed) for name, kind in KINDS.items() for edit, seed in product(kind.edits, kind.seeds)
    ]
    number = 0
    while number < PAIR_COUNT:
        (first, seed), (second, other) = random.sample(edits, 2)
        once = first(SEEDS[seed]) if seed == other else None
        twice = second(once) if once is not None else None
        if twice is not None:
            yield Mutation(PAIRS, f"{PAIRS}_{number:02}", seed, twice)
            number += 1


def write_models(root: Path, mutated: Sequence[Mutation]) -> None:
    """Write the mutated models and the steps of the ensembles as one repository."""
    for name, contents in (*PARTS.items(), *((mutation.name, mutation.files) for mutation in mutated)):
        for place, content in contents.items():
            path = root / name / place.replace(NAME, name)
            if place.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            raw = content.encode() if isinstance(content, str) else content
            path.write_bytes(raw.replace(NAME.encode(), name.encode()))
