"""Retries, the deadline over them, and the way from one server to another, on a clock of the test's own."""

from collections.abc import Generator, Sequence
from typing import Any

import pytest

from ai102.client.addresses import Balancer
from ai102.client.calls import Call, Index, Infer, Load
from ai102.client.errors import BadRequestError, BusyError, DeadlineError, InferenceError, ServerFailedError, no_server
from ai102.client.exchange import Attempt, Deadline, Pause, Retry, exchange

ASK = Infer("mood", ())
GONE = no_server("http://a:1", "Connection refused")
BROKEN = no_server("http://a:1", "the connection broke", was_sent=True)
BUSY = BusyError("mood: the queue is full", "503", "mood")
TOLD = "told"


class Play:
    """Gives an exchange the outcomes in `outcomes`, each after `takes_s`, and notes what it did."""

    def __init__(self, outcomes: Sequence[Any], takes_s: float = 0.01, random: float = 1.0) -> None:
        self.outcomes = list(outcomes)
        self.takes_s = takes_s
        self.random = random
        self.now = 100.0
        self.asked: list[str] = []
        self.limits: list[float] = []
        self.pauses: list[float] = []

    def run(
        self,
        call: Call = ASK,
        addresses: Sequence[str] = ("a:1",),
        timeout_s: float = 10.0,
        retry: Retry = Retry(),  # noqa: B008 - frozen
    ) -> Any:
        balancer = Balancer(addresses, lambda: self.now)
        deadline = Deadline.after(timeout_s, self.now)
        steps = exchange(call, balancer, retry, deadline, "http://a:1", lambda: self.random)
        return self._drive(steps)

    def _drive(self, steps: Generator[Any, Any, Any]) -> Any:
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                    self.now += step.seconds
                    step = steps.send(None)
                    continue
                assert isinstance(step, Attempt)
                self.asked.append(step.address)
                self.limits.append(step.timeout_s)
                self.now += self.takes_s
                outcome = self.outcomes.pop(0)
                step = steps.throw(outcome) if isinstance(outcome, InferenceError) else steps.send(outcome)
        except StopIteration as done:
            return done.value


@pytest.mark.parametrize(
    ("call", "outcomes"),
    [
        (ASK, [GONE, TOLD]),
        (ASK, [BROKEN, TOLD]),
        (ASK, [BUSY, BUSY, TOLD]),
        (Index(), [BROKEN, TOLD]),
        (Load("mood"), [GONE, TOLD]),
        (Infer("mood", (), parameters={"sequence_id": 7}), [GONE, TOLD]),
    ],
)
def test_what_is_safe_to_send_again_is_sent_again(call: Call, outcomes: list[Any]) -> None:
    assert Play(outcomes).run(call) == TOLD


@pytest.mark.parametrize(
    ("call", "failure"),
    [
        (ASK, BadRequestError("mood: no such input", "400", "mood")),
        (ASK, ServerFailedError("mood: the model failed", "500", "mood")),
        (Load("mood"), BROKEN),
        (Load("mood"), BUSY),
        (Infer("mood", (), parameters={"sequence_id": 7}), BROKEN),
    ],
)
def test_what_is_not_safe_or_no_use_is_not(call: Call, failure: InferenceError) -> None:
    play = Play([failure])
    with pytest.raises(type(failure)):
        play.run(call)
    assert play.asked == ["a:1"]


def test_pauses_double_up_to_the_longest_and_are_drawn_from_nothing() -> None:
    play = Play([BUSY] * 6, takes_s=0.0)
    with pytest.raises(BusyError):
        play.run(retry=Retry(tries=6, pause_s=0.1, longest_pause_s=0.5))
    assert play.pauses == pytest.approx([0.1, 0.2, 0.4, 0.5, 0.5])
    play = Play([BUSY, TOLD], random=0.0)
    play.run()
    assert play.pauses == [0.0]


def busy(retry_after_s: float) -> BusyError:
    err = BusyError("mood: the queue is full", "503", "mood")
    err.retry_after_s = retry_after_s
    return err


def test_a_server_that_says_when_to_come_back_is_left_alone_so_long() -> None:
    play = Play([busy(2.0), TOLD])
    assert play.run(retry=Retry(pause_s=0.5)) == TOLD
    assert play.pauses == pytest.approx([2.5])


def test_what_is_to_be_asked_past_the_deadline_is_not_waited_for() -> None:
    play = Play([busy(60.0), TOLD])
    with pytest.raises(BusyError):
        play.run(timeout_s=10.0)
    assert play.pauses == []


def test_each_try_gets_what_is_left_of_the_deadline() -> None:
    play = Play([BUSY, TOLD], takes_s=1.0)
    play.run(timeout_s=3.0, retry=Retry(pause_s=0.5))
    assert play.limits == pytest.approx([3.0, 1.5])


def test_a_pause_past_the_deadline_is_not_begun() -> None:
    play = Play([BUSY, TOLD], takes_s=0.9)
    with pytest.raises(DeadlineError, match=r"within 1 s;") as caught:
        play.run(timeout_s=1.0, retry=Retry(pause_s=0.5))
    assert play.now == pytest.approx(100.9)
    assert isinstance(caught.value.__cause__, BusyError)


def test_the_deadline_says_the_time_that_was_given_and_the_tries() -> None:
    play = Play([BUSY, DeadlineError("late")], takes_s=1.0)
    with pytest.raises(DeadlineError, match="within 3 s in 2 tries; allow more by timeout_s") as caught:
        play.run(timeout_s=3.0)
    assert caught.value.model == "mood"


def test_another_server_is_asked_at_once() -> None:
    play = Play([GONE, TOLD])
    assert play.run(addresses=("a:1", "b:1")) == TOLD
    assert (play.asked, play.pauses) == (["a:1", "b:1"], [0.0])


def test_every_server_is_asked_however_few_the_tries() -> None:
    play = Play([GONE] * 4 + [TOLD])
    assert play.run(addresses=("a:1", "b:1", "c:1", "d:1", "e:1"), retry=Retry(tries=2)) == TOLD
    assert sorted(play.asked) == ["a:1", "b:1", "c:1", "d:1", "e:1"]


def test_all_servers_gone_is_told_after_each_was_asked() -> None:
    play = Play([GONE] * 9)
    with pytest.raises(InferenceError, match="Connection refused"):
        play.run(addresses=("a:1", "b:1"), retry=Retry(tries=3))
    assert len(play.asked) == 3


def test_a_busy_server_is_not_taken_for_a_dead_one() -> None:
    balancer = Balancer(("a:1", "b:1"), lambda: 0.0)
    steps = exchange(ASK, balancer, Retry(), Deadline.after(9.0, 0.0), "http://a:1", lambda: 0.0)
    next(steps)
    steps.throw(BUSY)
    assert {balancer.pick() for _ in range(4)} == {"a:1", "b:1"}
