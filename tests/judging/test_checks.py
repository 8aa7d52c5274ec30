"""Each check on a record that it must stop, and on one beside it that it must not."""

from __future__ import annotations

import numpy as np
import pytest

from ai102.judging.checks import findings_of
from ai102.judging.record import Call, Pair, Record, Reply
from tests.judging.records import (
    LABELLER,
    LABELS,
    SCORER,
    failed,
    pair,
    record,
    reply,
    right,
    towards,
    with_memory,
    wrong,
)


def stops(made: Record) -> list[str]:
    """The checks that stop, in the order of their reasons."""
    return list(dict.fromkeys(finding.check for finding in findings_of(made, 1.0) if finding.state == "stop"))


def sentence(made: Record, check: str) -> str:
    return next(finding.sentence for finding in findings_of(made, 1.0) if finding.check == check)


def state(made: Record, check: str) -> str:
    return next(finding.state for finding in findings_of(made, 1.0) if finding.check == check)


def slow(milliseconds: float) -> Record:
    return record(replies=lambda target, position: reply(target, [right(position)], milliseconds))


def test_the_same_answers_pass_every_check() -> None:
    made = record()
    assert stops(made) == []
    assert state(made, "answers") == "pass"


def test_lost_answers_are_stopped_and_the_pipeline_is_named() -> None:
    made = record(
        replies=lambda target, at: reply(target, [wrong(at) if target == LABELLER and at % 9 == 0 else right(at)])
    )
    assert stops(made)[0] == "answers"
    assert "only by classify_image" in sentence(made, "answers")


def test_lost_answers_of_one_label_are_named() -> None:
    made = record(lambda at: wrong(at) if LABELS[at] == 7 else right(at))
    assert stops(made)[0] == "answers"
    assert 'most of them "seven"' in sentence(made, "answers")


def test_as_many_won_as_lost_is_not_stopped() -> None:
    made = record(
        lambda at: wrong(at) if at % 20 == 0 else right(at), lambda at: wrong(at) if at % 20 == 1 else right(at)
    )
    assert stops(made) == []


def test_a_few_lost_answers_leave_it_open() -> None:
    made = record(lambda at: wrong(at) if at in (20, 80, 140, 190) else right(at))
    assert (stops(made), state(made, "answers")) == ([], "open")


def test_nan_in_the_scores_of_one_label_is_named() -> None:
    def canary(at: int) -> np.ndarray:
        return np.full(10, np.nan) if LABELS[at] == 7 else right(at)

    made = record(replies=lambda target, at: reply(target, [canary(at)]), targets=(SCORER,))
    assert stops(made)[0] == "form of answers"
    assert "NaN or infinity" in sentence(made, "form of answers")
    assert ", seven)" in sentence(made, "form of answers")


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({"scores": np.zeros((1, 9), np.float32)}, "has the shape [1, 9]"),
        ({"scores": np.zeros((1, 10), np.int32)}, "is of type int32"),
        ({"other": np.zeros((1, 10), np.float32)}, "output scores is missing"),
    ],
)
def test_answers_of_another_form_are_stopped(outputs: dict[str, np.ndarray], words: str) -> None:
    made = record(replies=lambda target, at: Reply(outputs, 1.0), targets=(SCORER,))
    assert words in sentence(made, "form of answers")
    assert stops(made)[0] == "form of answers"


def test_an_unknown_label_is_stopped() -> None:
    answer = {"label": np.array([[b"cat"]], object), "score": np.ones((1, 1), np.float32)}
    made = record(replies=lambda target, at: Reply(answer, 1.0), targets=(LABELLER,))
    assert 'label "cat", which the contract does not have' in sentence(made, "form of answers")


def test_one_percent_of_failed_calls_is_stopped_and_two_calls_are_not() -> None:
    def every(number: int) -> Record:
        made = record()
        for at in range(800):
            fails = at % number == number - 1
            made.pairs.append(
                pair(
                    LABELLER,
                    "again",
                    at % 200,
                    lambda target, position, f=fails: failed() if f else reply(target, [right(position)]),
                )
            )
        return made

    assert stops(every(60)) == ["errors"]
    assert stops(every(400)) == []


@pytest.mark.parametrize(("percent", "calls", "is_stopped"), [(1.0, 800, True), (0.1, 4000, False), (0.0, 800, False)])
def test_one_pipeline_that_fails_does_not_hide_behind_another_that_does_not(
    percent: float, calls: int, is_stopped: bool
) -> None:
    made = record()
    for number in range(calls):
        fails = bool(percent) and number % round(100 / percent) == round(100 / percent) - 1
        for target in (LABELLER, SCORER):
            answer = failed() if fails and target is LABELLER else reply(target, [right(number % 200)])
            made.pairs.append(Pair(Call(target, "crowd", (number % 200,), burst=number), answer, None))
    assert stops(made) == (["errors"] if is_stopped else [])


def test_a_process_that_ended_once_is_stopped() -> None:
    made = record()
    made.pairs.append(pair(LABELLER, "again", 3, lambda target, at: failed("Stub process 'x' is not healthy.")))
    assert stops(made) == ["errors"]


def test_a_canary_without_the_model_is_stopped_and_the_model_is_named() -> None:
    made = record(replies=lambda target, at: failed("Request for unknown model: 'x'", "ModelNotFoundError"), samples=20)
    assert stops(made)[0] == "errors"
    assert "classify_image: Request for unknown model" in sentence(made, "errors")


def test_calls_that_fail_on_both_are_not_held_against_the_canary() -> None:
    made = record()
    for _ in range(50):
        made.pairs.append(Pair(Call(LABELLER, "again", (0,)), failed(), failed()))
    assert stops(made) == []


def test_answers_of_others_are_stopped() -> None:
    made = record()
    for at in range(40):
        other = next(place for place in range(200) if LABELS[place] != LABELS[at])
        made.pairs.append(pair(LABELLER, "crowd", at, lambda target, position, o=other: reply(target, [right(o)])))
    assert stops(made) == ["identity"]


def test_a_near_tie_that_turns_in_a_batch_is_let_pass() -> None:
    def tie(label: int) -> np.ndarray:
        scores = np.full(10, 0.01)
        scores[[0, 1]] = 0.46
        scores[label] += 0.001
        return scores

    made = record(lambda at: tie(0), lambda at: tie(0))
    for at in range(40):
        made.pairs.append(
            pair(LABELLER, "crowd", at, lambda target, position: reply(target, [tie(1)]), lambda p: tie(0))
        )
    assert "identity" not in stops(made)


def test_one_answer_to_everything_is_named() -> None:
    made = record(lambda at: towards(0))
    assert stops(made)[:2] == ["constant answers", "answers"]


def test_a_bad_request_that_is_answered_is_stopped() -> None:
    made = record()
    refused = failed("no image", "BadRequestError")
    made.pairs.append(Pair(Call(SCORER, "bad", (-1,), "no bytes"), reply(SCORER, [towards(0)]), refused))
    assert stops(made) == ["refusals"]
    made.pairs[-1] = Pair(Call(SCORER, "bad", (-1,), "no bytes"), refused, refused)
    assert stops(made) == []


def test_formats_that_the_canary_does_not_read_are_stopped() -> None:
    made = record()
    for at in range(6):
        call = Call(SCORER, "form", (at,), "JPEG")
        made.pairs.append(Pair(call, failed("no image", "BadRequestError"), reply(SCORER, [right(at)])))
    assert "formats" in stops(made)
    assert "6 of 6 JPEG" in sentence(made, "formats")


def test_one_form_that_is_lost_is_stopped_although_the_others_are_read() -> None:
    made = record()

    def answer(form: str, at: int, reads: bool) -> None:
        given = reply(SCORER, [right(at) if reads else wrong(at)])
        made.pairs.append(Pair(Call(SCORER, "form", (at,), form), given, reply(SCORER, [right(at)])))

    for at in range(38):
        answer("JPEG", at, reads=True)
    for at in range(5):
        answer("turned by EXIF", at, reads=at == 0)
    assert "formats" in stops(made)
    assert "4 of 5 turned by EXIF" in sentence(made, "formats")


def test_less_probability_for_the_right_label_is_stopped_although_the_labels_stay() -> None:
    assert "scores" in stops(record(lambda at: right(at, 0.7)))
    assert "scores" not in stops(record(lambda at: right(at, 0.93)))


def test_probabilities_that_do_not_add_up_are_stopped() -> None:
    made = record(lambda at: right(at) * 2)
    assert "do not add up to 1" in sentence(made, "scores")


def test_confidence_beyond_accuracy_is_stopped() -> None:
    sure = [wrong(at) if at % 5 == 0 else right(at, 0.99) for at in range(200)]
    doubtful = [towards((int(LABELS[at]) + 1) % 10, 0.8) if at % 5 == 0 else right(at, 0.8) for at in range(200)]
    made = record(lambda at: sure[at], lambda at: doubtful[at])
    assert "calibration" in stops(made)


def test_twice_the_latency_is_stopped_and_a_fifth_more_is_not() -> None:
    assert stops(slow(4.0)) == ["latency"]
    assert stops(slow(2.4)) == []


def test_calls_beyond_the_goal_are_stopped() -> None:
    assert "goal" in stops(slow(150.0))


def test_a_machine_that_slows_both_is_not_held_against_the_canary() -> None:
    made = slow(150.0)
    made.pairs = [one._replace(primary=one.canary) for one in made.pairs]
    assert stops(made) == []


def test_a_moment_that_slows_all_calls_of_a_burst_is_one_observation() -> None:
    made = record()
    for burst, late in enumerate((False, True, True, False) * 5):
        for at in range(8):
            answer = reply(LABELLER, [right(at)], 150.0 if late else 2.0)
            call = Call(LABELLER, "crowd", (at,), burst=burst)
            beside = reply(LABELLER, [right(at)], 150.0 if burst % 5 == 0 else 2.0)
            made.pairs.append(Pair(call, answer, beside))
    assert "latency" not in stops(made)


def test_a_first_call_far_beyond_all_others_is_stopped() -> None:
    made = record()
    first = pair(LABELLER, "first", 0, lambda target, at: reply(target, [right(at)], 5000.0))
    made.pairs.insert(0, first)
    assert stops(made) == ["first calls"]
    made.pairs[0] = first._replace(canary=first.canary._replace(milliseconds=500.0))
    assert stops(made) == []


@pytest.mark.parametrize(("bytes_a_call", "is_leak"), [(2e6, True), (3e5, True), (1e4, False), (0.0, False)])
def test_a_leak_is_stopped_from_a_tenth_of_a_megabyte_a_call_on(bytes_a_call: float, is_leak: bool) -> None:
    assert stops(with_memory(record(), bytes_a_call, noise=2e5)) == ["memory"] * is_leak


def test_memory_that_is_not_read_is_said() -> None:
    assert state(record(), "memory") == "note"


def test_the_budget_is_that_of_the_canarys_own_fp32_network() -> None:
    made = record(lambda at: wrong(at) if at in (3, 60, 120) else right(at))
    made.fp32 = {at: right(at) for at in range(200)}
    assert "budget" in stops(made)
    made.fp32 = {at: wrong(at) if at in (3, 60, 120) else right(at) for at in range(200)}
    assert "budget" not in stops(made)


def test_without_a_version_in_service_labels_and_the_own_fp32_network_decide() -> None:
    made = record(primary=None)
    made.fp32 = {at: right(at) for at in range(200)}
    assert (stops(made), state(made, "answers")) == ([], "pass")
    made = record(lambda at: wrong(at) if at % 10 == 0 else right(at), primary=None)
    made.fp32 = {at: right(at) for at in range(200)}
    assert "answers" in stops(made)
