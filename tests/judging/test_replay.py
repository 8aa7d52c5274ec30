"""The calls that a judgement adds, so that each replica has had enough of them."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from ai102.judging.record import Call, Pair
from ai102.judging.replay import ENOUGH_EACH, Replay
from tests.judging.records import LABELLER, SCORER, record, reply, right


def crowd(calls: Sequence[Call], items: Sequence[bytes], pool: ThreadPoolExecutor) -> list[Pair]:
    answers = [reply(call.target, [right(call.positions[0])]) for call in calls]
    return [Pair(call, answer, answer) for call, answer in zip(calls, answers, strict=True)]


@pytest.mark.parametrize("replicas", [1, 3])
def test_calls_at_once_go_on_until_each_replica_has_had_enough_of_every_pipeline(replicas: int) -> None:
    asked = record()
    asker: Any = SimpleNamespace(crowd=crowd)
    replay = Replay(asked.subject, asker, 0.1, None, lambda: replicas)
    replay.record = asked
    with ThreadPoolExecutor(1) as pool:
        for _ in replay._more([LABELLER, SCORER], pool):
            pass
    counts = Counter(pair.call.target.model for pair in asked.pairs)
    assert all(0 <= count - ENOUGH_EACH * replicas < 4 for count in counts.values())
    bursts = Counter(pair.call.burst for pair in asked.pairs if pair.call.purpose == "crowd")
    assert set(bursts.values()) == {4}


def test_a_slow_canary_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai102.judging.replay.LONGER_S", 0.0)
    asked = record()
    replay = Replay(asked.subject, SimpleNamespace(crowd=crowd), 0.1, None, lambda: 100)  # type: ignore[arg-type]
    replay.record = asked
    before = len(asked.pairs)
    with ThreadPoolExecutor(1) as pool:
        assert list(replay._more([LABELLER], pool)) == []
    assert len(asked.pairs) == before
