"""Pairs by request id: what is joined, what is of one side alone, what comes twice, and how much is kept."""

from __future__ import annotations

import pytest

from ai102.judging.live.joining import Joiner, Pair
from tests.judging.live.records import Clock, labelled


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_call_that_both_answered_is_a_pair_once_it_has_settled(clock: Clock) -> None:
    joiner = Joiner(clock)
    mine, other = labelled("a", "one"), labelled("a", "two")
    assert (joiner.add("canary", mine), joiner.add("primary", other)) == (True, True)
    assert (joiner.joined, list(joiner.settled())) == (1, [])
    clock.now += 6
    assert list(joiner.settled()) == [Pair(mine, other)]
    assert list(joiner.settled()) == []


def test_answers_of_two_models_to_one_call_are_two_pairs(clock: Clock) -> None:
    joiner = Joiner(clock)
    for side in ("canary", "primary"):
        for model in ("classify_image", "score_image"):
            joiner.add(side, labelled("a", model=model))
    assert joiner.joined == 2


def test_of_a_side_the_first_answer_counts(clock: Clock) -> None:
    joiner = Joiner(clock)
    assert joiner.add("canary", labelled("a", "one"))
    assert not joiner.add("canary", labelled("a", "two"))
    clock.now += 10
    joiner.add("primary", labelled("a", "one"))
    assert (joiner.joined, joiner.repeated) == (1, 1)


def test_an_id_that_comes_again_before_it_has_settled_may_be_of_two_calls_and_is_not_compared(clock: Clock) -> None:
    joiner = Joiner(clock)
    joiner.add("canary", labelled("a", "one"))
    joiner.add("primary", labelled("a", "two"))
    clock.now += 1
    joiner.add("primary", labelled("a", "one"))
    joiner.add("canary", labelled("a", "two"))
    clock.now += 10
    assert (list(joiner.settled()), joiner.joined, joiner.repeated) == ([], 1, 2)


def test_an_id_that_is_used_all_the_time_is_one_pair(clock: Clock) -> None:
    joiner = Joiner(clock)
    for number in range(40):
        for side in ("canary", "primary")[:: 1 if number % 2 else -1]:
            joiner.add(side, labelled("a", str(number)))
            clock.now += 5
    assert (len(list(joiner.settled())), joiner.joined, joiner.repeated) == (0, 1, 78)


def test_calls_of_one_side_are_counted_while_the_other_side_answers(clock: Clock) -> None:
    joiner = Joiner(clock)
    for number in range(100):
        joiner.add("primary", labelled(f"before-{number}"))  # the canary has no calls yet
    clock.now += 10
    for number in range(200):
        clock.now += 0.1
        joiner.add("primary", labelled(str(number)))
        if number % 10:
            joiner.add("canary", labelled(str(number)))
    clock.now += 10
    joiner.add("canary", labelled("last"))
    joiner.add("primary", labelled("last"))
    clock.now += 61
    joiner.expire()
    assert joiner.joined == 181
    # Not those of the first 5 s, in which the two begin.
    assert joiner.only == {"canary": 0, "primary": 14}
    assert joiner.joined_share == pytest.approx(181 / 195)
    assert joiner.kept == 0


def test_a_canary_beside_which_nothing_is_recorded_is_of_one_side(clock: Clock) -> None:
    joiner = Joiner(clock)
    for number in range(10):
        joiner.add("canary", labelled(str(number)))
    clock.now += 61
    joiner.expire()
    assert (joiner.only["canary"], joiner.joined_share) == (10, 0.0)


def test_no_more_than_so_many_ids_are_kept(clock: Clock) -> None:
    joiner = Joiner(clock, most=100)
    for number in range(1000):
        joiner.add("canary", labelled(str(number)))
    assert (joiner.kept, joiner.only["canary"]) == (100, 900)
    # The newest are those that are kept.
    joiner.add("primary", labelled("999"))
    assert joiner.joined == 1
