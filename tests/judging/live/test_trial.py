"""The live answers of a trial: what stops a release, what does not, and how often wrongly."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from ai102.judging.error_rates import SHARES
from ai102.judging.judgement import Judgement
from ai102.judging.live.comparing import difference
from ai102.judging.live.joining import Joiner, Pair
from ai102.judging.live.record import Record, Row
from ai102.judging.live.trial import MOST_KINDS, MOST_MODELS, Trial
from ai102.judging.page import html_of
from ai102.judging.sequential import Wealth, log_wealth
from tests.judging.live.records import MODEL, Clock, embedded, failed, labelled

VECTOR = np.random.default_rng(3).standard_normal(384)
NEAR = VECTOR + 0.1 * np.random.default_rng(4).standard_normal(384)
FAR = np.random.default_rng(5).standard_normal(384)
# Canary, version in service, the share that differs and why.
DIFFERENCES: dict[str, tuple[Record, Record, float, str]] = {
    "the same": (labelled("a"), labelled("a"), 0.0, ""),
    "another label": (labelled("a", "one"), labelled("a", "two"), 1.0, "another label"),
    "a near tie": (labelled("a", "one", 0.5), labelled("a", "two", 0.48), 0.0, ""),
    "another score": (labelled("a", score=0.6), labelled("a", score=0.9), 1.0, "another score"),
    "a close score": (labelled("a", score=0.9), labelled("a", score=0.95), 0.0, ""),
    "NaN": (labelled("a", "not finite", None), labelled("a"), 1.0, "another form"),  # type: ignore[arg-type]
    "a near embedding": (embedded("a", VECTOR), embedded("a", NEAR), 0.0, ""),
    "a distant embedding": (embedded("a", VECTOR), embedded("a", FAR), 1.0, "a distant embedding"),
    "an embedding of zeros": (embedded("a", 0 * VECTOR), embedded("a", VECTOR), 1.0, "another form"),
    "one of two rows": (
        Record("a", MODEL, (Row("one", 0.9, None), Row("two", 0.9, None))),
        Record("a", MODEL, (Row("one", 0.9, None), Row("six", 0.9, None))),
        0.5,
        "another label",
    ),
    "another number of rows": (Record("a", MODEL, ()), labelled("a"), 1.0, "another number of rows"),
    "an error of the canary": (failed("a"), labelled("a"), 1.0, "the canary failed"),
    "an error in service": (labelled("a"), failed("a", "refused"), 1.0, "the version in service refused"),
    "both refuse": (failed("a", "refused"), failed("a", "refused"), 0.0, ""),
    "they fail in two ways": (failed("a"), failed("a", "refused"), 1.0, "both in another way"),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_two_answers_differ_or_do_not(name: str) -> None:
    canary, primary, share, why = DIFFERENCES[name]
    assert difference(Pair(canary, primary), 0.92)[:2] == (share, why)


def copied(
    calls: int, canary: Callable[[int], Record], primary: Callable[[int], Record], wanted: int = 200
) -> tuple[Trial, Clock]:
    """A trial with copies of calls, a look after each."""
    clock = Clock()
    trial = Trial(wanted, joiner=Joiner(clock))
    for number in range(calls):
        trial.add("primary", primary(number))
        trial.add("canary", canary(number))
        clock.now += 0.1
    clock.now += 10
    trial.look()
    return trial, clock


def good(number: int) -> Record:
    return labelled(f"id-{number}", f"label {number % 10}")


def test_other_labels_stop_a_release_within_a_few_calls() -> None:
    trial, _ = copied(10, lambda number: labelled(f"id-{number}", "shuffled"), good)
    assert trial.stop.startswith("classify_image: live answers: 100.0 % of the answers to 10 live calls differ")
    assert trial.stop.endswith("(another label: 10), surely more than 5 %")


def test_a_good_release_goes_on_once_enough_is_joined() -> None:
    trial, _ = copied(150, good, good)
    assert (trial.stop, trial.waits) == ("", "150 of 200 calls are answered by both and joined")
    trial, _ = copied(250, good, good)
    assert (trial.stop, trial.waits, trial.doubt) == ("", "", "")


def test_some_differing_answers_are_let_pass() -> None:
    trial, _ = copied(
        2000, lambda number: labelled(f"id-{number}", "other") if number % 25 == 0 else good(number), good
    )
    assert trial.stop == ""
    (finding, *_) = trial.look()
    assert (finding.check, finding.state, finding.facts["differing percent"]) == ("live answers", "quiet", 4.0)


def test_a_release_that_differs_at_the_tolerance_is_stopped_as_rarely_as_stated() -> None:
    random = np.random.default_rng(11)
    values = (random.random((2000, 1000)) < 0.05).astype(float)
    crossed = (log_wealth(values, 0.05, 0.0) >= -np.log(0.02)).any(axis=1).mean()
    assert crossed <= 0.02
    wealth, alone = Wealth(0.05, 0.0), log_wealth(values[0], 0.05, 0.0)
    for value in values[0]:
        wealth.add(value)
    assert wealth.highest == pytest.approx(max(alone.max(), 0))


def test_less_than_99_percent_joined_is_a_doubt_and_no_stop() -> None:
    clock = Clock()
    trial = Trial(50, joiner=Joiner(clock))
    for number in range(300):
        trial.add("primary", good(number))
        if number % 20:
            trial.add("canary", good(number))
        clock.now += 0.1
    clock.now += 61
    trial.look()
    assert (trial.stop, trial.waits) == ("", "")
    assert trial.doubt.startswith(
        "96.6 % of the live calls are joined, wanted 99 %: 0 have an answer of the canary alone"
    )


def shared(calls: int, canary: Callable[[int], str], share: float = 0.25) -> Trial:
    """A trial in which the canary has a share of the calls."""
    random, clock = np.random.default_rng(8), Clock()
    trial = Trial(joiner=Joiner(clock))
    for number in range(calls):
        label = f"label {random.integers(10)}"
        if random.random() < share:
            trial.add("canary", labelled(str(number), canary(int(label[-1]))))
        else:
            trial.add("primary", labelled(str(number), label))
    trial.look()
    return trial


def test_a_canary_with_a_share_of_the_calls_is_stopped_by_its_distribution() -> None:
    assert shared(4000, lambda digit: f"label {digit}").stop == ""
    assert shared(4000, lambda digit: "label 3" if digit < 5 else f"label {digit}").stop.startswith(
        "classify_image: live drift: labels: the answers of"
    )
    # Each label as often as before: that is not seen.
    assert shared(4000, lambda digit: f"label {(digit + 1) % 10}").stop == ""


def test_calls_that_a_caller_gave_one_id_stop_nothing_where_there_are_no_copies() -> None:
    clock = Clock()
    trial = Trial(joiner=Joiner(clock))
    for number in range(100):
        trial.add("canary", labelled(f"id-{number}", "one"))
        trial.add("primary", labelled(f"id-{number}", "one" if number % 2 else "one "))
        clock.now += 10
    assert (trial.joiner.joined, [one.state for one in trial.look() if one.check == "live answers"]) == (100, ["note"])


def test_what_was_answered_before_the_canary_had_calls_is_not_compared() -> None:
    trial = Trial(joiner=Joiner(Clock()))
    for number in range(3000):
        trial.add("primary", labelled(f"before-{number}", "night"))
    for number in range(1000):
        trial.add("canary" if number % 2 else "primary", labelled(str(number), "day"))
    (_, labels, _) = trial.look()
    assert (trial.stop, labels.facts["calls"]) == ("", (500, 499))  # one of them was before the canary's first


def test_a_change_of_the_share_begins_a_phase() -> None:
    """At night one call of ten goes to the canary, by day one of two: the totals differ, and the answers do not."""
    trial = Trial(joiner=Joiner(Clock()))
    for hour, tenths in (("night", 1), ("day", 5)):
        for number in range(3000):
            trial.add("canary" if number % 10 < tenths else "primary", labelled(f"{hour}-{number}", hour))
        trial.begin_phase()
    assert trial.look()[1].state == "quiet"


def test_memory_is_bounded_whatever_the_pods_send() -> None:
    trial = Trial(joiner=Joiner(Clock(), most=50))
    for number in range(2 * MOST_KINDS):
        trial.add("canary", labelled(f"a-{number}", f"kind {number}"))
        trial.add("primary", labelled(f"b-{number}", model=f"model_{number}"))
    facts = trial.as_dict()
    assert len({one["subject"] for one in facts["findings"]}) == MOST_MODELS
    assert trial.joiner.kept == 50
    counts = trial._streams[MODEL].phases[-1].labels["canary"]
    assert (len(counts), counts["others"]) == (MOST_KINDS + 1, MOST_KINDS)


def test_the_shares_of_all_checks_leave_the_error_rate_as_it_is() -> None:
    assert sum(SHARES.values()) <= 0.01
    assert {"live answers", "live drift"} <= set(SHARES)


def test_the_report_has_the_live_answers_and_their_stop() -> None:
    trial, _ = copied(20, lambda number: labelled(f"id-{number}", "<b>"), good)
    judgement = Judgement("grpc://canary", "grpc://primary", 0.1, "promote", "good", True)
    facts = json.loads(json.dumps(judgement.as_dict(trial.as_dict())))
    assert (facts["verdict"], facts["live"]["joined"], facts["live"]["mode"]) == ("stop", 20, "copies")
    page = html_of(facts)
    assert "<h2>Live answers</h2>" in page
    assert "The canary is stopped" in page
    assert "on live traffic: classify_image: live answers: 100.0 %" in page
    assert "<b>&lt;b&gt;" not in page
    assert "Live answers</h2>" not in html_of(judgement.as_dict())
    weighted = html_of(judgement.as_dict(shared(100, str).as_dict()))
    assert "only the distributions of the answers are compared" in weighted


def test_memory_is_read_once_every_process_of_the_canary_has_said_it_anew() -> None:
    trial = Trial()
    assert trial.read_memory() is None
    for pod, size in (("a", 100), ("b", 200)):
        trial.add_memory(pod, MODEL, size)
    assert [trial.read_memory(), trial.read_memory()] == [300, None]
    trial.add_memory("a", MODEL, 150)
    assert trial.read_memory() is None
    trial.add_memory("b", MODEL, 250)
    assert (trial.read_memory(), trial.replicas()) == (400, 2)
