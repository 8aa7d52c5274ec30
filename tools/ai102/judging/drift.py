"""Whether canary and version in service answer live traffic alike, from counts of their answers.

Each kind of answer, such as a label or a bin of scores, comes from the canary with its share of the traffic, whatever
the answer is, as long as both answer alike. The counts may be looked at as often as one likes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import lgamma, log
from typing import Literal, NamedTuple

import numpy as np

from ai102.judging.sequential import Floats

# How firmly each kind of answer keeps to the canary's share in the alternatives that are mixed.
CONCENTRATIONS = (2.0, 20.0, 200.0)
# Differences below this total variation are let pass, however clear they are.
TOLERANCE = 0.05
BINS = 20


class Counts(NamedTuple):
    """Answers of both by kind, since the canary's share of the traffic was last changed."""

    canary: Mapping[str, int]
    primary: Mapping[str, int]


@dataclass(frozen=True)
class Drift:
    """`evidence` is the logarithm of an e-value: where both are alike, it reaches log(1 / alpha) so often."""

    state: Literal["stop", "quiet"]
    evidence: float
    distance: float  # total variation of the two distributions, 0 to 1
    most: str  # the kind of answer whose share differs most
    answers: tuple[int, int]  # of canary and version in service
    sentence: str


def bins_of(scores: Iterable[float]) -> dict[str, int]:
    """Scores from 0 to 1 as counts of BINS equal bins."""
    counts = Counter(min(max(int(score * BINS), 0), BINS - 1) for score in scores if score == score)
    return {f"{number / BINS:.2f}": counts[number] for number in sorted(counts)}


def drift(phases: Sequence[Counts], alpha: float, tolerance: float = TOLERANCE) -> Drift:
    """Compare the counts of all phases, one for each share of traffic that the canary has had.

    `alpha` is the probability to stop, at any look, where both answer alike. Where several distributions are
    compared, such as labels and scores, divide it among them. The e-value is that of universal inference (Wasserman,
    Ramdas and Balakrishnan 2020, PNAS 117:16880): the likelihood with a share of its own for each kind, averaged over
    such shares, divided by the largest likelihood with one share for all.
    """
    evidence = sum(_evidence(phase) for phase in phases)
    canary = sum((Counter(phase.canary) for phase in phases), Counter[str]())
    primary = sum((Counter(phase.primary) for phase in phases), Counter[str]())
    totals = canary.total(), primary.total()
    if not all(totals):
        return Drift("quiet", evidence, 0.0, "", totals, "one of the two has not answered yet")
    gaps = {kind: canary[kind] / totals[0] - primary[kind] / totals[1] for kind in canary | primary}
    most = max(gaps, key=lambda kind: abs(gaps[kind]))
    distance = sum(map(abs, gaps.values())) / 2
    is_clear = evidence >= -log(alpha)
    sentence = (
        f"the answers of {totals[0]} and {totals[1]} calls differ by {100 * distance:.1f} points of total variation, "
        f'most in "{most}": {100 * canary[most] / totals[0]:.1f} % of the canary\'s answers, '
        f"{100 * primary[most] / totals[1]:.1f} % in service"
    )
    state: Literal["stop", "quiet"] = "stop" if is_clear and distance >= tolerance else "quiet"
    return Drift(state, evidence, distance, most, totals, sentence)


def _evidence(phase: Counts) -> float:
    kinds = sorted(set(phase.canary) | set(phase.primary))
    canary = np.array([phase.canary.get(kind, 0) for kind in kinds], float)
    primary = np.array([phase.primary.get(kind, 0) for kind in kinds], float)
    mine, all_answers = canary.sum(), canary.sum() + primary.sum()
    if not 0 < mine < all_answers:
        return 0.0
    share = mine / all_answers
    alike = mine * log(share) + (all_answers - mine) * log(1 - share)
    apart = [_averaged(canary, primary, concentration) for concentration in CONCENTRATIONS]
    return float(np.logaddexp.reduce(apart) - log(len(apart)) - alike)


def _averaged(canary: Floats, primary: Floats, concentration: float) -> float:
    """The logarithm of the likelihood, averaged over one common share and, around it, a share of each kind's own."""
    shares = np.linspace(0.025, 0.975, 39)
    totals = []
    for share in shares:
        a, b = concentration * share, concentration * (1 - share)
        pairs = zip(canary.tolist(), primary.tolist(), strict=True)
        totals.append(sum(_beta(a + c, b + p) - _beta(a, b) for c, p in pairs))
    return float(np.logaddexp.reduce(totals)) - log(len(totals))


def _beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
