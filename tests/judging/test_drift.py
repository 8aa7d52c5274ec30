import numpy as np

from ai102.judging.drift import Counts, bins_of, drift

RANDOM = np.random.default_rng(102)
KINDS = ["zero", "one", "two", "three", "four"]
EVEN = np.full(5, 0.2)


def counted(shares: np.ndarray, calls: int) -> dict[str, int]:
    return dict(zip(KINDS, RANDOM.multinomial(calls, shares).tolist(), strict=True))


def test_the_same_answers_are_not_stopped_at_any_of_many_looks() -> None:
    stops = 0
    for _ in range(30):
        canary, primary = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
        is_stopped = False
        for _ in range(12):
            for counts, calls in ((canary, 40), (primary, 360)):
                for kind, count in counted(EVEN, calls).items():
                    counts[kind] += count
            is_stopped |= drift([Counts(canary, primary)], alpha=0.05, tolerance=0.0).state == "stop"
        stops += is_stopped
    assert stops <= 2


def test_a_label_that_is_no_longer_given_is_seen_in_a_few_hundred_calls() -> None:
    without = np.array([0.25, 0.25, 0.25, 0.25, 0.0])
    seen = drift([Counts(counted(without, 300), counted(EVEN, 2700))], alpha=0.001)
    assert (seen.state, seen.most) == ("stop", "four")
    assert seen.sentence.startswith("the answers of 300 and 2700 calls differ by ")


def test_a_clear_difference_that_is_small_is_let_pass() -> None:
    shifted = np.array([0.22, 0.18, 0.2, 0.2, 0.2])
    seen = drift([Counts(counted(shifted, 100_000), counted(EVEN, 100_000))], alpha=0.001)
    assert (seen.state, seen.evidence > 20) == ("quiet", True)


def test_a_change_of_the_canarys_share_is_no_drift() -> None:
    first, second = np.array([0.6, 0.1, 0.1, 0.1, 0.1]), np.array([0.1, 0.1, 0.1, 0.1, 0.6])
    phases = [
        Counts(counted(first, 100), counted(first, 900)),
        Counts(counted(second, 500), counted(second, 500)),
    ]
    assert drift(phases, alpha=0.01, tolerance=0.0).state == "quiet"


def test_one_side_without_answers_says_nothing() -> None:
    assert drift([Counts({}, {"one": 5})], alpha=0.05).state == "quiet"
    assert drift([], alpha=0.05).state == "quiet"


def test_scores_are_counted_in_bins() -> None:
    assert bins_of([0.0, 0.04, 0.5, 1.0, float("nan")]) == {"0.00": 2, "0.50": 1, "0.95": 1}
