"""The search takes the cheapest recipe that keeps to the budget, spares few layers, and always chooses the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ai102.contract import Recipe
from ai102.int8.search import BASES, MAX_FLOAT_LAYERS, Outcome, Score, search
from ai102.int8.sensitivity import LayerCost

PLAIN, SMOOTH, SMOOTHER = Recipe(), Recipe(smoothing=0.5), Recipe(smoothing=0.8)
# Name, what the layer costs, and its multiply-accumulates: b gains the most for its work, then a.
COSTS = {"a": (0.4, 40), "b": (0.3, 10), "c": (0.0, 50), "d": (-0.01, 50)}


def ranking(_base: Recipe) -> list[LayerCost]:
    return [LayerCost(name, cost, cost, macs) for name, (cost, macs) in COSTS.items()]


def scores(errors: dict[Recipe, float], allowed: float) -> Callable[[Recipe], Score]:
    def score(recipe: Recipe) -> Score:
        base = recipe.model_copy(update={"keep_float": ()})
        error = errors[base] - sum(COSTS[name][0] for name in recipe.keep_float)
        return Score(error, {}, () if error <= allowed else ("too much",))

    return score


def searched(errors: dict[Recipe, float], allowed: float, **options: int) -> Outcome:
    return search(scores(errors, allowed), ranking, bases=tuple(errors), **options)


@pytest.mark.parametrize(
    ("errors", "allowed", "chosen"),
    [
        ({PLAIN: 0.1, SMOOTH: 0.01}, 0.2, PLAIN),  # smoothing costs time
        ({PLAIN: 0.3, SMOOTH: 0.1, SMOOTHER: 0.05}, 0.2, SMOOTHER),
        ({SMOOTH: 0.1, SMOOTHER: 0.0999}, 0.2, SMOOTH),  # the same but for noise: the first
    ],
)
def test_where_all_layers_may_be_int8_none_is_spared(
    errors: dict[Recipe, float], allowed: float, chosen: Recipe
) -> None:
    outcome = searched(errors, allowed)
    assert (outcome.recipe, outcome.ranking) == (chosen, ())
    assert len(outcome.tried) == len(errors)


@pytest.mark.parametrize(
    ("allowed", "spared"),
    [(0.75, ("b",)), (0.65, ("a",)), (0.35, ("a", "b"))],  # 0.65: b first, then both, then b is put back
)
def test_of_the_best_base_as_few_layers_as_will_do_are_spared(allowed: float, spared: tuple[str, ...]) -> None:
    outcome = searched({PLAIN: 2.0, SMOOTH: 1.0}, allowed)
    assert outcome.recipe == SMOOTH.model_copy(update={"keep_float": spared})


def test_nothing_is_chosen_where_nothing_keeps_to_the_budget_and_the_ranking_tells_why() -> None:
    outcome = searched({PLAIN: 2.0, SMOOTH: 1.0}, 0.1)
    assert outcome.recipe is None
    assert outcome.best.keep_float == ("a", "b")  # c and d gain nothing
    assert [cost.name for cost in outcome.ranking] == list(COSTS)


def test_the_search_is_bounded() -> None:
    asked: list[Recipe] = []

    def hopeless(recipe: Recipe) -> Score:
        asked.append(recipe)
        return Score(1.0, {}, ("too much",))

    many = [LayerCost(f"layer{number:02}", 0.1, 0.1, 1) for number in range(40)]
    assert search(hopeless, lambda base: many).recipe is None
    assert len(asked) == len(set(asked)) == len(BASES) + MAX_FLOAT_LAYERS


def test_the_same_scores_lead_to_the_same_choice_in_whatever_order_layers_are_ranked() -> None:
    score = scores({PLAIN: 1.0}, 0.55)
    there = search(score, ranking, bases=(PLAIN,))
    back = search(score, lambda base: ranking(base)[::-1], bases=(PLAIN,))
    assert there.recipe == back.recipe
