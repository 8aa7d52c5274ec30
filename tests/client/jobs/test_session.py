"""Waiting for many jobs, driven by hand: which ids are asked about, and how long the server is to wait."""

import json
import re
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from ai102.client import DeadlineError, JobResult, Retry
from ai102.client.exchange import Pause
from ai102.client.jobs.session import Done, Session, after


class Server:
    """Answers POST /v1/jobs/ended without a network; its clock goes by as much as it waits, and a little each time."""

    def __init__(self, is_over: Callable[[str, "Server"], bool]) -> None:
        self.now_s = 0.0
        self.asked: list[int] = []
        self.waits: list[float] = []
        self._is_over = is_over

    def collected(self, ids: list[str], timeout_s: float | None = None) -> list[str]:
        session = Session("http://127.0.0.1:9", 60.0, Retry())
        session.balancer.clock = lambda: self.now_s
        steps = session.as_completed(ids, timeout_s)
        results: list[str] = []
        step = after(steps)
        while not isinstance(step, Done):
            if isinstance(step, JobResult):
                results.append(step.id)
                step = after(steps)
            elif isinstance(step, Pause):
                self.now_s += step.seconds
                step = after(steps)
            else:
                step = after(steps, self._answer(step.call))
        return results

    def _answer(self, ask: Any) -> dict[str, Any]:
        ids = json.loads(ask.body)["ids"]
        wait = re.search(r"wait=([0-9.]+)s", ask.path)
        assert wait is not None
        over = [id for id in ids if self._is_over(id, self)]
        self.asked.append(len(ids))
        self.waits.append(float(wait[1]))
        self.now_s += 0.01 if over else 0.01 + self.waits[-1]
        rows = [{"id": id, "state": "succeeded", "outputs": []} for id in over]
        return {"jobs": rows, "gone": []}


def ids_of(count: int) -> list[str]:
    return [f"{number:036}" for number in range(count)]


def test_a_hundred_thousand_jobs_are_asked_about_a_thousand_at_a_time() -> None:
    server = Server(lambda id, server: True)
    ids = ids_of(100_000)
    assert server.collected(ids) == ids
    assert server.asked == [1000] * 100
    assert set(server.waits[:-1]) == {0.0}


def test_jobs_at_the_end_of_a_long_list_do_not_wait_for_those_before() -> None:
    ids = ids_of(20_000)
    server = Server(lambda id, server: id >= ids[19_000] or server.now_s > 30)
    results = server.collected(ids)
    assert results[:1000] == ids[19_000:]
    assert sorted(results) == ids


def test_a_few_jobs_that_take_long_do_not_hold_up_the_others() -> None:
    ids = ids_of(20_000)
    slow = set(ids[:999])
    server = Server(lambda id, server: id not in slow or server.now_s > 100)
    results = server.collected(ids)
    assert sorted(results) == ids
    assert set(results[-999:]) == slow
    assert len(server.asked) < 1000


def test_a_list_with_nothing_ended_is_asked_about_whole_before_the_server_waits() -> None:
    server = Server(lambda id, server: server.now_s > 2)
    server.collected(ids_of(3000))
    assert server.waits[:8] == [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]


def test_few_jobs_are_waited_for_by_the_server() -> None:
    server = Server(lambda id, server: server.now_s > 25)
    assert server.collected(ids_of(3)) == ids_of(3)
    assert server.waits == [10.0, 10.0, 10.0, 10.0]


def test_an_id_that_is_there_twice_has_one_result() -> None:
    assert Server(lambda id, server: True).collected([*ids_of(3), *ids_of(2)]) == ids_of(3)


def test_no_ids_are_no_request() -> None:
    server = Server(lambda id, server: True)
    assert (server.collected([]), server.asked) == ([], [])


def test_the_deadline_ends_the_wait_for_the_rest() -> None:
    ids = ids_of(2)
    server = Server(lambda id, server: id == ids[0])
    with pytest.raises(DeadlineError, match="1 jobs have not ended within 30 s"):
        server.collected(ids, 30.0)
    assert server.now_s == pytest.approx(30.0, abs=0.1)
    assert deque(server.asked, 1)[0] == 1
