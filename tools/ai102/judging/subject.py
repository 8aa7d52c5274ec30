"""What a judgement replays: each network's held-out samples, and the pipelines that answer them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ai102.contract import Contract, Network
from ai102.contract.goals import goals_of
from ai102.contract.pipelines import Pipeline, pipelines_of
from ai102.errors import UserError
from ai102.samples.read import label_numbers, read_samples

# The order of the samples is random, and the same at every judgement.
SEED = 102
# An embedding takes tens of milliseconds, a label about one.
MOST_LABELLED, MOST_EMBEDDED = 2000, 128
# Of several pipelines that embed, the first is asked about every sample and the others about every fourth.
EMBEDDED_STRIDE = 4
LABELLING = ("image-classification", "text-classification")


@dataclass(frozen=True)
class Target:
    """A pipeline that takes one item, and the names of its outputs; an output that it does not have is empty."""

    model: str
    input: str
    takes: Literal["image", "text"]
    label: str
    score: str
    scores: str  # of all labels [labels]
    vector: str  # an embedding [width]
    width: int  # of `scores` or `vector`; -1 where it varies
    goal_ms: float  # p99
    allowed_failures: float  # share of calls
    max_batch_size: int
    stride: int  # every so many samples it is asked

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(name for name in (self.label, self.score, self.scores, self.vector) if name)


@dataclass(frozen=True)
class Subject:
    """One network, its samples in the order in which they are asked, and its pipelines, the preferred one first."""

    name: str
    network: Network
    targets: tuple[Target, ...]
    items: tuple[bytes, ...]
    labels: NDArray[np.int64] | None  # index of the right label [items]; None: nobody knows
    samples_sha256: str
    set_size: int  # samples of the whole test split

    @property
    def is_labelling(self) -> bool:
        return self.network.task in LABELLING

    @property
    def is_whole_set(self) -> bool:
        return len(self.items) == self.set_size

    @property
    def round_size(self) -> int:
        """Samples between two looks."""
        return 20 if self.is_labelling else 8


def subjects_of(contract: Contract, sets: Path, models: Sequence[str] = (), most: int | None = None) -> list[Subject]:
    """The networks with a test split and a pipeline; `models` names networks or pipelines, none: all.

    `most` samples of each at most, 0: all of them. Raises UserError where a name is unknown, where a named network
    cannot be judged, and where there is none.
    """
    pipelines = pipelines_of(contract)
    if unknown := [name for name in models if name not in contract.networks and name not in pipelines]:
        known = ", ".join([*contract.networks, *pipelines])
        raise UserError(f"--models names {unknown[0]}, which is no network and no pipeline of models.toml: {known}")
    subjects = []
    for name, network in contract.networks.items():
        mine = [pipeline for pipeline in pipelines.values() if pipeline.network == name]
        chosen = [pipeline for pipeline in mine if not models or name in models or pipeline.name in models]
        if models and not chosen and name not in models:
            continue
        if reason := _why_not(name, network, mine):
            if models:
                raise UserError(reason)
            continue
        subjects.append(_subject(contract, sets, name, chosen, most))
    if not subjects:
        raise UserError(
            "models.toml: no network has both a calibration_set, whose test split is replayed, and a pipeline: "
            "nothing can be judged by its answers"
        )
    return subjects


def _why_not(name: str, network: Network, pipelines: Sequence[Pipeline]) -> str:
    if network.calibration_set is None:
        return f"{name} has no calibration_set in models.toml, so there is no test split to judge a release by"
    if not pipelines:
        return f"{name} has no pipeline in models.toml that takes an image or a text: nothing to ask"
    if network.task not in (*LABELLING, "text-embedding"):
        return f"{name} is for {network.task}: a release is judged by labels and embeddings only"
    return ""


def _subject(contract: Contract, sets: Path, name: str, pipelines: Sequence[Pipeline], most: int | None) -> Subject:
    network = contract.networks[name]
    assert network.calibration_set is not None
    samples = read_samples(sets, network.calibration_set, "test")
    is_labelling = network.task in LABELLING
    if most is None:
        most = MOST_LABELLED if is_labelling else MOST_EMBEDDED
    order = np.random.default_rng(SEED).permutation(len(samples.items))[: most or None]
    targets = tuple(_targets(contract, network, pipelines))
    if not targets:
        raise UserError(f"{name}: none of its pipelines in models.toml returns a label, scores or an embedding")
    return Subject(
        name, network, targets, tuple(samples.items[position] for position in order),
        label_numbers(network, samples)[order] if samples.labels else None, samples.sha256, len(samples.items),
    )  # fmt: skip


def _targets(contract: Contract, network: Network, pipelines: Sequence[Pipeline]) -> Iterator[Target]:
    goals, sizes = goals_of(contract), {model.name: model.max_batch_size for model in contract.served_models}
    is_labelling = network.task in LABELLING
    is_first = True
    for pipeline in pipelines:
        names = {(origin.model.kind, origin.tensor): tensor for tensor, origin in pipeline.outputs.items()}
        label, score = names.get(("label_scores", "label"), ""), names.get(("label_scores", "score"), "")
        inner = next((tensor for tensor, origin in pipeline.outputs.items() if origin.model == pipeline.inner), "")
        if not label and not inner:
            continue
        yield Target(
            pipeline.name, pipeline.input, pipeline.takes, label, score,
            inner if is_labelling else "", "" if is_labelling else inner, network.outputs[0].dims[-1],
            goals[pipeline.name].p99_ms, 1 - goals[pipeline.name].success_percent / 100, sizes[pipeline.name],
            1 if is_labelling or is_first else EMBEDDED_STRIDE,
        )  # fmt: skip
        is_first = False
