"""Each rule of `ai102 explain` speaks where it should and is silent where it should be."""

from dataclasses import replace

import pytest

from ai102.explain.facts import Config, Counts, Facts
from ai102.explain.rules import RULES, findings

MS = 1_000_000
BATCHED = Config(max_batch_size=8, has_dynamic_batching=True, queue_delay_us=500, has_warmup=True)


def counts(
    requests: int = 100,
    *,
    runs: int | None = None,
    queue_ms: float = 0.1,
    input_ms: float = 0.1,
    infer_ms: float = 1.0,
    output_ms: float = 0.1,
    busy_ms: float = 100.0,
    batches: tuple[tuple[int, int], ...] = (),
    failed: int = 0,
    hits: int = 0,
    misses: int = 0,
) -> Counts:
    """`requests` of one item each, times a request; alone in `runs` runs unless told otherwise."""
    runs = requests if runs is None else runs
    whole = queue_ms + input_ms + infer_ms + output_ms
    nanoseconds = [int(requests * part * MS) for part in (whole, queue_ms, input_ms, infer_ms, output_ms)]
    sizes = batches or (((requests // runs, runs),) if runs else ())
    return Counts(requests, failed, requests, runs, *nanoseconds, hits, misses, sizes, int(busy_ms * MS))


# What a healthy model looks like: watched for a second, several under way, batches of four.
HEALTHY = Facts("model", BATCHED, counts(2000, runs=500, queue_ms=0.4, busy_ms=800), seconds=1.0)
# The same under way, but each alone, and the model busy.
ALONE = replace(HEALTHY, counts=counts(900, infer_ms=1.5, queue_ms=0.6, busy_ms=900))
STEPS = tuple(
    replace(HEALTHY, model=name, counts=counts(100, infer_ms=took)) for name, took in (("a", 1.0), ("b", 5.0))
)
ENSEMBLE = Facts(
    "both", Config(max_batch_size=8, steps=("a", "b")), counts(100, infer_ms=7.0), seconds=0.1, steps=STEPS
)
# Two steps of 0.5 ms and 1 ms, and 3 ms in all: half of the time goes by between them.
HOPS = replace(
    ENSEMBLE,
    counts=counts(100, infer_ms=2.7),
    seconds=1.0,
    steps=tuple(
        replace(HEALTHY, model=name, counts=counts(100, infer_ms=took, queue_ms=0.0, busy_ms=100 * took))
        for name, took in (("a", 0.5), ("b", 1.0))
    ),
)
# The same steps in one process, which is busy all the time; as models of their own they ran too.
JOINED = replace(
    HEALTHY,
    config=replace(BATCHED, joined=("a", "b")),
    counts=counts(500, infer_ms=1.8, busy_ms=980),
    joined=tuple(
        replace(HEALTHY, model=name, counts=counts(100, infer_ms=took, busy_ms=100 * took))
        for name, took in (("a", 0.9), ("b", 1.0))
    ),
)

# By rule: where it must speak, words that must be in what it says, and where it must not.
CASES: dict[str, tuple[Facts, str, Facts]] = {
    "not_ready": (replace(HEALTHY, state="UNAVAILABLE", state_reason="no file"), "unavailable", HEALTHY),
    "no_requests": (replace(HEALTHY, counts=Counts()), "ai102 infer", HEALTHY),
    "requests_failed": (
        replace(HEALTHY, counts=counts(99, failed=1), failures={"REJECTED": 1}),
        "1.0% of the requests failed",
        HEALTHY,
    ),
    "queue_dominates": (
        replace(HEALTHY, counts=counts(2000, runs=250, queue_ms=20, infer_ms=2, busy_ms=990)),
        "more arrive than the model keeps up with",
        HEALTHY,
    ),
    "no_batch_dimension": (replace(ALONE, config=Config()), "max_batch_size is 0", HEALTHY),
    "no_dynamic_batching": (
        replace(ALONE, config=replace(BATCHED, has_dynamic_batching=False)),
        "dynamic_batching { max_queue_delay_microseconds: 500 }",
        ALONE,
    ),
    "one_in_flight": (
        replace(HEALTHY, counts=counts(700, infer_ms=0.6, queue_ms=0.6, busy_ms=560)),
        "one request in flight",
        ALONE,
    ),
    "too_many_instances": (
        replace(ALONE, config=replace(BATCHED, instances=4), counts=counts(900, infer_ms=2, busy_ms=1900)),
        "instance_group { count: 2 }",
        ALONE,
    ),
    "no_need_to_batch": (
        replace(HEALTHY, counts=counts(500, infer_ms=3, busy_ms=200)),
        "busy 20% of the time",
        ALONE,
    ),
    "shapes_differ": (
        replace(ALONE, config=replace(BATCHED, has_varying_dims=True), counts=counts(900, queue_ms=4, busy_ms=900)),
        "different shapes",
        replace(ALONE, config=replace(BATCHED, has_varying_dims=True), counts=counts(900, infer_ms=2, busy_ms=900)),
    ),
    "delay_too_small": (
        replace(ALONE, config=replace(BATCHED, queue_delay_us=0)),
        "max_queue_delay_microseconds: 3300",
        replace(ALONE, config=replace(BATCHED, queue_delay_us=5000)),
    ),
    "batches_are_full": (
        replace(HEALTHY, counts=counts(2000, runs=250, busy_ms=900)),
        "max_batch_size: 16",
        HEALTHY,
    ),
    "batches_form": (HEALTHY, "4.00 items a run", ALONE),
    "ensemble_overhead": (
        ENSEMBLE,
        "its slowest step, b",
        replace(ENSEMBLE, counts=counts(100, infer_ms=5.1)),
    ),
    "one_process_is_faster": (
        HOPS,
        "in_one_process = true",
        replace(HOPS, counts=counts(100, infer_ms=1.3)),
    ),
    "ensemble_is_faster": (
        JOINED,
        "b takes longest, 1 ms an item",
        replace(JOINED, counts=counts(500, infer_ms=1.8, busy_ms=600)),
    ),
    "copies_dominate": (replace(HEALTHY, counts=counts(100, input_ms=3)), "shared memory", HEALTHY),
    "warm_up_missing": (
        replace(HEALTHY, config=replace(BATCHED, has_warmup=False), before=counts(3, busy_ms=90)),
        "model_warmup",
        replace(HEALTHY, before=counts(3, busy_ms=90)),
    ),
    "cache_rarely_hits": (
        replace(HEALTHY, config=replace(BATCHED, has_cache=True), counts=counts(100, hits=1, misses=99)),
        "1 of 100 look-ups hit",
        replace(HEALTHY, config=replace(BATCHED, has_cache=True), counts=counts(100, hits=50, misses=50)),
    ),
    "cache_hits": (
        replace(HEALTHY, counts=counts(100, hits=50, misses=50)),
        "50.0% of 100",
        HEALTHY,
    ),
}


def test_every_rule_has_a_case_for_and_against() -> None:
    assert CASES.keys() == RULES.keys()


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_speaks_where_it_should_with_what_to_look_for(rule: str) -> None:
    facts, words, _ = CASES[rule]
    finding = RULES[rule](facts)
    assert finding is not None
    assert words in " ".join(finding)


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_is_silent_where_all_is_well(rule: str) -> None:
    assert RULES[rule](CASES[rule][2]) is None


def test_a_healthy_model_is_told_nothing_to_do() -> None:
    assert [(name, finding.do) for name, finding in findings(HEALTHY).items()] == [("batches_form", "")]


def test_one_reason_is_given_for_batches_that_do_not_form() -> None:
    causes = {"no_batch_dimension", "no_dynamic_batching", "one_in_flight", "too_many_instances", "no_need_to_batch",
              "shapes_differ", "delay_too_small"}  # fmt: skip
    told = {rule: sorted(causes & findings(CASES[rule][0]).keys()) for rule in causes}
    assert told == {rule: [rule] for rule in causes}


def test_a_step_counts_as_busy_with_what_its_ensemble_has_under_way() -> None:
    alone = counts(900, infer_ms=0.5, queue_ms=0.1, busy_ms=600)
    by_itself, in_an_ensemble = replace(ALONE, counts=alone), replace(ALONE, counts=alone, around=6.0)
    assert ["one_in_flight" in findings(facts) for facts in (by_itself, in_an_ensemble)] == [True, False]


def test_a_delay_that_is_waited_out_in_vain_is_told() -> None:
    idle = replace(HEALTHY, counts=counts(500, infer_ms=3, queue_ms=0.55, busy_ms=200))
    told = findings(idle)["no_need_to_batch"]
    assert "each waited 550 us in the queue, the delay is 500 us" in told.evidence
    assert "max_queue_delay_microseconds: 0" in told.do
    assert findings(replace(idle, config=replace(BATCHED, queue_delay_us=0)))["no_need_to_batch"].do == ""


def test_without_a_time_watched_batches_that_were_seen_tell_that_requests_met() -> None:
    seen = counts(100, runs=80, batches=((1, 70), (2, 5), (4, 5)), queue_ms=0.6)
    assert "one_in_flight" not in findings(Facts("model", BATCHED, seen))
    assert "one_in_flight" in findings(Facts("model", BATCHED, counts(100, queue_ms=0.6)))


def test_one_process_is_not_proposed_for_steps_that_together_need_more_than_one() -> None:
    busy = tuple(
        replace(step, config=replace(BATCHED, instances=2), counts=replace(step.counts, busy_ns=1200 * MS))
        for step in HOPS.steps
    )
    assert "one_process_is_faster" not in findings(replace(HOPS, steps=busy))


def test_the_ensemble_is_not_proposed_where_one_step_does_most_or_none_was_seen_alone() -> None:
    slow = replace(JOINED.joined[1], counts=counts(100, infer_ms=1.6, busy_ms=160))
    for joined in ((JOINED.joined[0], slow), (), tuple(replace(step, counts=Counts()) for step in JOINED.joined)):
        assert "ensemble_is_faster" not in findings(replace(JOINED, joined=joined))
