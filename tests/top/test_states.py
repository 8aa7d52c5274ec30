"""Each rule of what is wrong, with a case for and one against; the worst comes first."""

from dataclasses import replace

import pytest

from ai102.top import states
from ai102.top.reading import Model, Pipeline, Reading, Replica
from ai102.top.states import judged

PIPELINE = Pipeline("embed", 10, 1.0, 0.0, 0.01, 0.05, 2, 0.3, 0.999, 0.1)
MODEL = Model("embed", 10, 5, 0.01, 0.02, 0.1, 0.1, 0, 0)
REPLICA = Replica("a", True, False, 3, 10, True)


@pytest.mark.parametrize(
    ("change", "word", "why"),
    [
        ({}, "ok", ""),
        ({"success": 0.95}, "failing", "5 % of its calls fail, 0.1 % may"),
        ({"success": 0.9989}, "failing", "0.11 % of its calls fail, 0.1 % may"),
        ({"success": 0.9991}, "ok", ""),
        ({"success": 0.98, "success_goal": None}, "failing", "2 % of its calls fail, 1 % may"),
        ({"p99_s": 0.34}, "slow", "p99 is 340 ms, the goal 100 ms"),
        ({"p99_s": 0.34, "p99_goal_s": None}, "ok", ""),
        ({"refused": 0.7, "success": None}, "refused", "70 % of its calls are refused"),
        ({"success": 0.5, "p99_s": 3.0}, "failing", "50 % of its calls fail, 0.1 % may"),
        ({"rate": 0, "in_flight": 0, "success": None, "p99_s": None}, "idle", ""),
        ({"rate": 0, "in_flight": 4, "success": None}, "ok", ""),
    ],
)
def test_a_pipeline_is_judged_by_its_goals(change: dict[str, float], word: str, why: str) -> None:
    assert states.of_pipeline(replace(PIPELINE, **change))[1:] == (word, why)


@pytest.mark.parametrize(
    ("change", "word", "why"),
    [
        ({}, "ok", ""),
        ({"progress": 0.0, "waiting": 7}, "stuck", "7 requests wait and none is computed"),
        ({"progress": None, "waiting": 7}, "ok", ""),
        ({"progress": 0.0, "waiting": 0}, "ok", ""),
        ({"failures": 0.4}, "failing", "0.4 requests a second fail in Triton"),
        ({"queue_share": 0.62, "mean_s": 0.1}, "queueing", "requests wait 62 ms, 62 % of their time"),
        ({"queue_share": 0.62, "mean_s": 0.002}, "ok", ""),
        ({"queue_share": None, "rate": 0, "executions": 0, "in_flight": 0}, "idle", ""),
    ],
)
def test_a_model_is_judged_by_queue_and_failures(change: dict[str, float | None], word: str, why: str) -> None:
    assert states.of_model(replace(MODEL, **change))[1:] == (word, why)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("replica", "word"),
    [
        (REPLICA, "up"),
        (replace(REPLICA, is_up=False, answers=False), "down"),
        (replace(REPLICA, answers=False), "silent"),
        (replace(REPLICA, is_drained=True), "drained"),
        (Replica("127.0.0.1:8002", answers=True), "up"),
    ],
)
def test_a_replica_is_judged_by_the_gateway_and_its_own_metrics(replica: Replica, word: str) -> None:
    assert states.of_replica(replica).word == word


def test_what_is_wrong_comes_first_in_rows_and_sentences() -> None:
    reading = Reading(
        "here", 0, 60,
        (replace(PIPELINE, name="busy", rate=900), replace(PIPELINE, name="slow", p99_s=1.0),
         replace(PIPELINE, name="broken", success=0.5)),
        (MODEL,),
        (REPLICA, replace(REPLICA, name="b", is_up=False)),
        0.95,
        ("LatencyBurn slow (page)",),
        ("api at 127.0.0.1:8090 does not answer Prometheus",),
    )  # fmt: skip
    seen = judged(reading)
    assert [part.name for part, _ in seen.pipelines] == ["broken", "slow", "busy"]
    assert [part.name for part, _ in seen.replicas] == ["b", "a"]
    assert seen.wrong == [
        "api at 127.0.0.1:8090 does not answer Prometheus",
        "replica b: the gateway's checks fail, it gets no requests",
        "pipeline broken: 50 % of its calls fail, 0.1 % may",
        "pipeline slow: p99 is 1 s, the goal 100 ms",
        "95 % of the replicas' measured capacity is used",
        "alert LatencyBurn slow (page)",
    ]


@pytest.mark.parametrize(
    ("ratio", "said"), [(1.0, "100 %"), (0.99999, "99.99 %"), (0.9995, "99.95 %"), (0.5, "50.00 %"), (0.0, "0.00 %")]
)
def test_a_success_that_is_not_whole_never_reads_as_whole(ratio: float, said: str) -> None:
    assert states.success(ratio) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.0000123, "12.3 us"), (0.00234, "2.3 ms"), (0.34, "340 ms"), (1.0, "1 s"), (63.2, "63.2 s")]
)
def test_a_time_has_three_digits_at_most_and_its_unit(seconds: float, said: str) -> None:
    assert states.time(seconds) == said
