"""Broken connections, busy servers and deadlines: no second job, no call past its deadline, nothing asked too early."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ai102.client import BusyError, DeadlineError, NoServerError, RateLimitedError, Retry, WrongProtocolError
from tests.jobs.faulty import (
    Fault,
    Proxy,
    busy,
    drop,
    faulty,
    hold_answer,
    lose_answer,
    say,
    say_no_http,
    stay_silent,
    trickle,
)
from tests.jobs.served import JobsApi, working

pytestmark = pytest.mark.slow
IN_TIME_S = 60.0
SUBMIT = "POST /v1/jobs"
NOBODYS = "00000000-0000-7000-8000-000000000000"
# No call takes longer than its deadline and this.
LATE_S = 0.1


@pytest.fixture
def proxy(api: JobsApi) -> Iterator[Proxy]:
    with faulty(api.url) as between:
        yield between


@pytest.mark.parametrize("fault", [lose_answer, drop], ids=["the answer is lost", "the request is lost"])
def test_a_retry_makes_no_second_job(connect: Any, api: JobsApi, proxy: Proxy, fault: Fault) -> None:
    before = api.count()
    proxy.faults = [(SUBMIT, fault), (SUBMIT, fault)]
    with connect(proxy.url) as jobs:
        ids = jobs.submit_many("classify_image", [b"1", b"2", b"3"])
    sent = proxy.sent(SUBMIT)
    assert (len(sent), len(set(sent))) == (3, 1)
    assert api.count() - before == len(set(ids)) == 3


def test_a_connection_that_always_breaks_is_given_up(connect: Any, proxy: Proxy) -> None:
    proxy.faults = [(SUBMIT, drop)] * 9
    with connect(proxy.url, retry=Retry(tries=4)) as jobs, pytest.raises(NoServerError, match="the connection broke"):
        jobs.submit("classify_image", b"image")
    assert len(proxy.requests) == 4


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(
    connect: Any, api: JobsApi, proxy: Proxy, status: int
) -> None:
    before = api.count()
    proxy.faults = [(SUBMIT, busy(status, "1"))] * 2
    with connect(proxy.url, retry=Retry(tries=1)) as jobs:
        began = time.monotonic()
        jobs.submit("classify_image", b"image")
    assert time.monotonic() - began >= 2.0
    assert (len(proxy.requests), api.count() - before) == (3, 1)


def test_a_busy_server_is_not_waited_for_past_the_deadline(connect: Any, proxy: Proxy) -> None:
    proxy.faults = [(SUBMIT, busy(429, "3600"))]
    with connect(proxy.url) as jobs, pytest.raises(RateLimitedError, match="try again in 3600 s") as refused:
        jobs.submit("classify_image", b"image")
    assert refused.value.retry_after_s == 3600.0


def test_a_busy_server_that_does_not_say_until_when_is_tried_a_few_times(connect: Any, proxy: Proxy) -> None:
    proxy.faults = [(SUBMIT, busy(503))] * 9
    with connect(proxy.url) as jobs, pytest.raises(BusyError):
        jobs.submit("classify_image", b"image")
    assert len(proxy.requests) == 3


def test_a_server_that_is_away_for_a_moment_ends_no_wait(connect: Any, api: JobsApi, proxy: Proxy) -> None:
    with connect(proxy.url, retry=Retry(tries=1)) as jobs:
        ids = jobs.submit_many("classify_image", [b"1", b"2"])
        proxy.faults = [("POST /v1/jobs/ended", drop), ("POST /v1/jobs/ended", busy(503)), ("GET ", drop)]
        with working(api.ledger):
            assert {result.id for result in jobs.as_completed(ids, IN_TIME_S)} == set(ids)
            assert jobs.result(ids[0], IN_TIME_S).state == "succeeded"
    assert proxy.faults == []


def test_items_before_a_failure_are_handed_in_once_with_their_keys(connect: Any, api: JobsApi, proxy: Proxy) -> None:
    before = api.count()
    items, keys = [b"%d" % number for number in range(1500)], [f"{connect}/{number}" for number in range(1500)]
    proxy.faults = [(SUBMIT, lambda handler: handler.answer(*handler.asked())), (SUBMIT, say(500, {"detail": "No."}))]
    with connect(proxy.url) as jobs:
        with contextlib.suppress(Exception):
            jobs.submit_many("classify_image", items, keys=keys)
        assert api.count() - before == 1000
        ids = jobs.submit_many("classify_image", items, keys=keys)
    assert api.count() - before == len(set(ids)) == 1500


def test_a_request_has_a_thousand_jobs_and_eight_megabytes_at_most(connect: Any, proxy: Proxy) -> None:
    proxy.faults = [(SUBMIT, lambda handler: handler.answer(*handler.asked()))]
    with connect(proxy.url) as jobs:
        ids = jobs.submit_many("classify_image", [*(b"%d" % n for n in range(1001)), *[bytes(1 << 20)] * 9])
    sizes = [len(body) for body in proxy.sent(SUBMIT)]
    assert [body.count(b'"key"') for body in proxy.sent(SUBMIT)] == [1000, 6, 4]
    assert max(sizes) < 8_000_100
    assert len(set(ids)) == 1010


SLOW = {"silent": stay_silent, "an answer without end": trickle, "the answer is held": hold_answer}


@pytest.mark.parametrize("fault", SLOW.values(), ids=SLOW)
@pytest.mark.parametrize(
    ("beginning", "call"),
    [
        (SUBMIT, lambda jobs: jobs.submit("classify_image", b"image", timeout_s=0.5)),
        ("GET ", lambda jobs: jobs.result(NOBODYS, 0.5)),
        ("POST /v1/jobs/ended", lambda jobs: list(jobs.as_completed([NOBODYS], 0.5))),
    ],
    ids=["submit", "result", "as_completed"],
)
def test_no_call_outlives_its_deadline(connect: Any, proxy: Proxy, fault: Fault, beginning: str, call: Any) -> None:
    late = []
    with connect(proxy.url) as jobs:
        jobs.list(limit=1)
        for _ in range(5):  # a busy machine may be late itself, and not each time
            proxy.faults = [(beginning, fault)] * 3
            began = time.monotonic()
            with pytest.raises(DeadlineError):
                call(jobs)
            late.append(time.monotonic() - began - 0.5)
            if late[-1] < LATE_S:
                break
    assert min(late) < LATE_S


def test_a_server_that_speaks_no_http_is_told_apart(connect: Any, proxy: Proxy) -> None:
    proxy.faults = [("GET ", say_no_http)]
    with connect(proxy.url) as jobs, pytest.raises(WrongProtocolError, match="does not speak HTTP as expected"):
        jobs.list()
