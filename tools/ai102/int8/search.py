"""The recipe that keeps to a budget and runs the most in INT8, within a bounded number of tries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ai102.contract import Recipe
from ai102.int8.sensitivity import LayerCost
from ai102.progress import Progress

# By what they cost while serving, cheapest first: ranges cost nothing, smoothing multiplies activations once.
# Ranges measured for every batch (dynamic quantization) are no candidate: MiniLM, all layers, smoothing 0.8, agrees
# on 94.6 % of the neighbours either way (mean cosine .9980, static .9981) at 2.5 to 2.6 times FP32's speed (static 2.4
# to 2.7), and an answer would depend on what else is in its batch. Without smoothing: 87.5 %. ONNX Runtime 1.32, one
# thread of an AMD EPYC with VNNI, batch 8 of 32 tokens, 1,284 test sentences, 2026-11-23.
BASES = (
    Recipe(),
    Recipe(method="percentile", percentile=99.999),
    Recipe(method="percentile", percentile=99.99),
    Recipe(method="entropy"),
    *(Recipe(smoothing=alpha) for alpha in (0.5, 0.6, 0.7, 0.8, 0.9)),
)
# More than this and a better network, not a longer search, is what helps.
MAX_FLOAT_LAYERS = 8
MAX_TRIES = len(BASES) + 2 * MAX_FLOAT_LAYERS


@dataclass(frozen=True)
class Score:
    """How far a recipe's network is from FP32, and what of it breaks the budget."""

    error: float  # what recipes are compared by; 0 is FP32
    facts: Mapping[str, float] = field(default_factory=dict)
    complaints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What was chosen, None where nothing keeps to the budget, and everything that was tried for it."""

    recipe: Recipe | None
    best: Recipe  # the one of least error, whether it keeps to the budget or not
    ranking: tuple[LayerCost, ...]  # empty where every layer could be INT8
    tried: tuple[tuple[Recipe, Score], ...]


def search(
    score_of: Callable[[Recipe], Score],
    ranking_of: Callable[[Recipe], Sequence[LayerCost]],
    *,
    bases: Sequence[Recipe] = BASES,
    max_float_layers: int = MAX_FLOAT_LAYERS,
    progress: Progress = lambda done, total: None,
) -> Outcome:
    """Try every base with all layers in INT8; where none will do, spare layers of the best one.

    Layers are spared in the order of what that gains for each multiply-accumulate it takes out of INT8, until the
    budget is kept; then each is put back, the largest first, unless that breaks it again. `ranking_of` is asked at
    most once. The same scores lead to the same choice: errors are compared to two digits, then by order.
    """
    tried: dict[Recipe, Score] = {}
    total = len(bases) + 2 * max_float_layers

    def score(recipe: Recipe) -> Score:
        if recipe not in tried:
            tried[recipe] = score_of(recipe)
            progress(len(tried), total)
        return tried[recipe]

    def outcome(recipe: Recipe | None, ranking: Sequence[LayerCost] = ()) -> Outcome:
        best = min(tried, key=lambda recipe: tried[recipe].error)
        return Outcome(recipe, best, tuple(ranking), tuple(tried.items()))

    def by_error(recipe: Recipe) -> tuple[float, int]:
        return float(f"{score(recipe).error:.1e}"), bases.index(recipe)

    good = [base for base in bases if not score(base).complaints]
    if good:
        return outcome(min(good, key=lambda base: (base.smoothing is not None, *by_error(base))))
    base = min(bases, key=by_error)
    ranking = ranking_of(base)
    by_gain = sorted(ranking, key=lambda cost: (-cost.cost_spared / max(cost.macs, 1), cost.name))
    worth_it = [cost for cost in by_gain if cost.cost_spared > 0][: min(max_float_layers, len(ranking) - 1)]
    for count in range(1, len(worth_it) + 1):
        spared = worth_it[:count]
        if not score(_sparing(base, spared)).complaints:
            return outcome(_sparing(base, _put_back(base, spared, score)), ranking)
    return outcome(None, ranking)


def _put_back(base: Recipe, spared: list[LayerCost], score: Callable[[Recipe], Score]) -> list[LayerCost]:
    for cost in sorted(spared, key=lambda cost: (-cost.macs, cost.name)):
        fewer = [other for other in spared if other != cost]
        if fewer and not score(_sparing(base, fewer)).complaints:
            spared = fewer
    return spared


def _sparing(base: Recipe, costs: Sequence[LayerCost]) -> Recipe:
    return base.model_copy(update={"keep_float": tuple(sorted(cost.name for cost in costs))})
