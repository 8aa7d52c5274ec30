"""Requests, target models and expected answers, from models.toml and its test sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ai102.build.workspace import home_of
from ai102.client import Client, bytes_array
from ai102.contract import Contract, load
from ai102.contract.pipelines import pipeline_named, pipelines_of
from ai102.errors import UserError
from ai102.samples.read import label_numbers, read_samples

What = Literal["images", "text", "mixed"]
Answer = Mapping[str, NDArray[Any]]
Pipelines = Literal["preferred", "steps", "both"]
TAKES = {"images": ("image",), "text": ("text",), "mixed": ("image", "text")}
# The allowed distance from an idle server's numbers, relative to their norm: another batch changes the last bits, the
# answer to another request changes everything (for a vector of length one, 0.05 is a cosine of 0.999).
TOLERANCE = 0.05


@dataclass(frozen=True)
class Payload:
    data: bytes
    label: str | None  # the correct label, if the set has it


@dataclass(frozen=True)
class Target:
    """An ensemble and its held-out samples."""

    model: str
    input: str
    outputs: tuple[str, ...]
    p99_goal_ms: float
    payloads: tuple[Payload, ...]


@dataclass(frozen=True)
class Sample:
    """The input tensors of a payload, and the answer of an idle server."""

    inputs: Answer
    answer: Answer


def targets(
    contract_file: Path, what: What, models: Sequence[str], samples: int, pipelines: Pipelines = "preferred"
) -> list[Target]:
    """The named ensembles, or those of each network that take the inputs of `what` and have a test set.

    "preferred" is the first of a network's ensembles, "steps" the first that runs its steps as separate models, if
    there is one, "both" these two. Raises UserError when there is none, or when one has no samples.
    """
    contract, sets = load(contract_file), home_of(contract_file) / "calibration" / "sets"
    if models:
        return [_target(contract, sets, model, samples) for model in models]
    candidates: dict[str, list[str]] = {}
    for pipeline in pipelines_of(contract).values():
        network = pipeline.network
        if network and pipeline.takes in TAKES[what] and contract.networks[network].calibration_set:
            candidates.setdefault(network, []).append(pipeline.name)
    if not candidates:
        raise UserError(
            f"{contract_file} has no ensemble that takes {' or '.join(TAKES[what])}s and has a calibration_set, whose "
            "test samples would be sent: add one to its network, or choose another --what"
        )
    chosen = [name for names in candidates.values() for name in _chosen(contract, names, pipelines)]
    return [_target(contract, sets, ensemble, samples) for ensemble in chosen]


def _chosen(contract: Contract, names: Sequence[str], pipelines: Pipelines) -> list[str]:
    """The chosen ones of a network's ensembles, the preferred first."""
    preferred = names[0]
    steps = next((name for name in names if not contract.ensembles[name].in_one_process), preferred)
    return list(dict.fromkeys({"preferred": [preferred], "steps": [steps], "both": [preferred, steps]}[pipelines]))


def _target(contract: Contract, sets: Path, ensemble: str, count: int) -> Target:
    pipeline = pipeline_named(contract, ensemble)
    network = contract.networks.get(pipeline.network or "")
    if network is None or network.calibration_set is None:
        raise UserError(f"{ensemble} runs no network with a calibration_set, whose test samples would be sent: add one")
    test = read_samples(sets, network.calibration_set, "test")
    labels: list[str | None] = [None] * len(test.items)
    if test.labels and network.labels:
        labels = [network.labels[number] for number in label_numbers(network, test)]
    payloads = tuple(Payload(item, label) for item, label in zip(test.items, labels, strict=True))[:count]
    outputs = contract.ensembles[ensemble].outputs
    return Target(ensemble, pipeline.input, outputs, network.latency_goal.p99_ms, payloads)


def samples_of(target: Target, client: Client) -> list[Sample]:
    """Each payload with the answer of the idle server.

    A payload that the network labels wrongly is left out: that concerns its accuracy, not its behaviour under load.
    Raises InferenceError when the server does not answer, UserError when it misses half of the labels.
    """
    samples = []
    for payload in target.payloads:
        inputs = {target.input: bytes_array([payload.data])}
        answer = client.infer(target.model, inputs, target.outputs)
        if payload.label is None or "label" not in answer or answer["label"].reshape(-1)[0].decode() == payload.label:
            samples.append(Sample(inputs, answer))
    if 2 * len(samples) < len(target.payloads):
        raise UserError(
            f"{target.model} at {client.url} finds {len(samples)} of {len(target.payloads)} labels: not the model "
            "that models.toml declares; see `ai102 verify`"
        )
    return samples


def is_right(sample: Sample, answer: Answer) -> bool:
    """Whether the answer equals the idle server's, within the tolerance."""
    return all(_is_same(expected, answer[name]) for name, expected in sample.answer.items())


def size_of(answer: Answer) -> int:
    """The size of all outputs in bytes."""
    return sum(
        sum(map(len, array.reshape(-1))) if array.dtype == np.object_ else array.nbytes for array in answer.values()
    )


def _is_same(expected: NDArray[Any], actual: NDArray[Any]) -> bool:
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return False
    if expected.dtype.kind != "f":
        return bool(np.array_equal(expected, actual))
    return bool(np.linalg.norm(actual - expected) <= TOLERANCE * np.linalg.norm(expected))
