"""Retries, the deadline over them, and the way from one server to another, on a clock of the test's own."""

from collections.abc import Generator, Sequence
from itertools import pairwise
from typing import Any

import pytest

from ai102.client.addresses import REST_S, Balancer
from ai102.client.calls import Call, Index, Infer, Load
from ai102.client.errors import (
    BadRequestError,
    BusyError,
    DeadlineError,
    InferenceError,
    ServerFailedError,
    error_from_answer,
    no_server,
    too_late,
)
from ai102.client.exchange import Attempt, Deadline, Pause, Retry, exchange, with_attempts

ASK = Infer("mood", ())
GONE = no_server("http://a:1", "Connection refused")
BROKEN = no_server("http://a:1", "the connection broke", was_sent=True)
BUSY = BusyError("mood: the queue is full", "503", "mood")
ANSWER = "answer"


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
        (ASK, [GONE, ANSWER]),
        (ASK, [BROKEN, ANSWER]),
        (ASK, [BUSY, BUSY, ANSWER]),
        (Index(), [BROKEN, ANSWER]),
        (Load("mood"), [GONE, ANSWER]),
        (Infer("mood", (), parameters={"sequence_id": 7}), [GONE, ANSWER]),
    ],
)
def test_what_is_safe_to_send_again_is_sent_again(call: Call, outcomes: list[Any]) -> None:
    assert Play(outcomes).run(call) == ANSWER


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
    play = Play([BUSY, ANSWER], random=0.0)
    play.run()
    assert play.pauses == [0.0]


def busy(retry_after_s: float) -> BusyError:
    err = BusyError("mood: the queue is full", "503", "mood")
    err.retry_after_s = retry_after_s
    return err


def test_a_server_that_says_when_to_come_back_is_left_alone_so_long() -> None:
    play = Play([busy(2.0), ANSWER])
    assert play.run(retry=Retry(pause_s=0.5)) == ANSWER
    assert play.pauses == pytest.approx([2.5])


def test_what_is_to_be_asked_past_the_deadline_is_not_waited_for() -> None:
    play = Play([busy(60.0), ANSWER])
    with pytest.raises(BusyError):
        play.run(timeout_s=10.0)
    assert play.pauses == []


def test_each_try_gets_what_is_left_of_the_deadline() -> None:
    play = Play([BUSY, ANSWER], takes_s=1.0)
    play.run(timeout_s=3.0, retry=Retry(pause_s=0.5))
    assert play.limits == pytest.approx([3.0, 1.5])


def test_a_pause_past_the_deadline_is_not_begun() -> None:
    play = Play([BUSY, ANSWER], takes_s=0.9)
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
    play = Play([GONE, ANSWER])
    assert play.run(addresses=("a:1", "b:1")) == ANSWER
    assert (play.asked, play.pauses) == (["a:1", "b:1"], [0.0])


def test_every_server_is_asked_however_few_the_tries() -> None:
    play = Play([GONE] * 4 + [ANSWER])
    assert play.run(addresses=("a:1", "b:1", "c:1", "d:1", "e:1"), retry=Retry(tries=2)) == ANSWER
    assert sorted(play.asked) == ["a:1", "b:1", "c:1", "d:1", "e:1"]


def test_all_servers_gone_is_told_after_each_was_asked() -> None:
    play = Play([GONE] * 9)
    with pytest.raises(InferenceError, match="Connection refused"):
        play.run(addresses=("a:1", "b:1"), retry=Retry(tries=3))
    assert len(play.asked) == 3


class TwoServers:
    """Two servers, of which `hung` never answers; `call` returns which servers it met, and the answer or the error."""

    def __init__(self, hung: str = "a:1") -> None:
        self.hung = hung
        self.now = 100.0
        self.balancer = Balancer(("a:1", "b:1"), lambda: self.now)

    def call(self, timeout_s: float = 1.0, call: Call = ASK, takes_s: float = 0.01) -> tuple[list[str], Any]:
        deadline = Deadline.after(timeout_s, self.now)
        steps = exchange(call, self.balancer, Retry(), deadline, "http://a:1,b:1", lambda: 1.0)
        met: list[str] = []
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    self.now += step.seconds
                    step = steps.send(None)
                    continue
                met.append(step.address)
                if step.address == self.hung or takes_s > step.timeout_s:
                    self.now += step.timeout_s
                    step = steps.throw(too_late("http://a:1", step.timeout_s, "mood", 1))
                else:
                    self.now += takes_s
                    step = steps.send(ANSWER)
        except StopIteration as done:
            return met, done.value
        except InferenceError as err:
            return met, err


def test_a_hung_server_is_met_once_in_each_rest_period_and_every_call_is_answered() -> None:
    servers = TwoServers()
    meetings: list[float] = []
    for _ in range(1000):
        began = servers.now
        met, answer = servers.call()
        assert answer == ANSWER
        assert servers.now - began < 1.0
        if "a:1" in met:
            meetings.append(servers.now)
    assert len(meetings) >= 2
    assert all(later - earlier >= REST_S for earlier, later in pairwise(meetings))


def test_of_many_calls_at_once_one_tries_a_server_that_has_rested() -> None:
    servers = TwoServers()
    servers.balancer.failed("a:1")
    servers.now += REST_S
    assert [servers.balancer.pick() for _ in range(9)].count("a:1") == 1


def test_a_server_that_hangs_while_it_is_trusted_costs_one_call() -> None:
    servers = TwoServers(hung="")
    for _ in range(4):
        assert servers.call()[1] == ANSWER
    servers.hung = "a:1"
    errors = [answer for _, answer in (servers.call() for _ in range(100)) if answer != ANSWER]
    assert [type(err) for err in errors] == [DeadlineError]


def test_a_slow_call_to_a_server_that_answers_has_all_of_its_time_and_is_sent_once() -> None:
    servers = TwoServers(hung="")
    for _ in range(2):
        servers.call()
    met, answer = servers.call(takes_s=0.9)
    assert (len(met), answer) == (1, ANSWER)


def test_what_is_not_safe_to_send_again_has_all_of_its_time_and_is_sent_once() -> None:
    met, err = TwoServers().call(call=Load("mood"))
    assert (met, type(err)) == (["a:1"], DeadlineError)


def test_a_server_that_answered_another_call_meanwhile_is_slow_and_not_hung() -> None:
    now = [0.0]
    balancer = Balancer(("a:1", "b:1"), lambda: now[0])
    now[0] = 2.0
    balancer.answered("a:1")
    balancer.was_silent("a:1", since=1.0)
    assert balancer.has_answered("a:1")
    balancer.was_silent("a:1", since=3.0)
    assert not balancer.has_answered("a:1")


def test_a_proxys_504_keeps_its_sentence_and_is_not_sent_again() -> None:
    play = Play([error_from_answer("504", "The upstream said nothing.", "mood")])
    with pytest.raises(DeadlineError, match=r"^mood: The upstream said nothing; the server or a proxy") as caught:
        play.run(timeout_s=60.0)
    assert (caught.value.status, play.asked) == ("504", ["a:1"])


def test_a_busy_server_is_not_taken_for_a_dead_one() -> None:
    balancer = Balancer(("a:1", "b:1"), lambda: 0.0)
    steps = exchange(ASK, balancer, Retry(), Deadline.after(9.0, 0.0), "http://a:1", lambda: 0.0)
    next(steps)
    steps.throw(BUSY)
    assert {balancer.pick() for _ in range(4)} == {"a:1", "b:1"}


def test_steps_with_changed_attempts_go_on_pause_and_end_as_they_would_unchanged() -> None:
    balancer = Balancer(("a:1",), lambda: 0.0)
    steps = exchange(ASK, balancer, Retry(), Deadline.after(9.0, 0.0), "http://a:1", lambda: 1.0)
    changed = with_attempts(steps, lambda attempt: attempt._replace(address="b:1"))
    first = next(changed)
    assert isinstance(first, Attempt)
    assert (first.address, changed.throw(BUSY)) == ("b:1", Pause(0.05))
    next(changed)
    with pytest.raises(StopIteration) as done:
        changed.send(ANSWER)
    assert done.value.value == ANSWER


def test_whoever_leaves_changed_steps_closes_those_beneath() -> None:
    steps = exchange(ASK, Balancer(("a:1",), lambda: 0.0), Retry(), Deadline.after(9.0, 0.0), "", lambda: 1.0)
    changed = with_attempts(steps, lambda attempt: attempt)
    next(changed)
    changed.close()
    assert list(steps) == []
