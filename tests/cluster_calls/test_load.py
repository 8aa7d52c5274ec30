"""The load is open: a call is sent when it is due, whatever becomes of those before."""

import asyncio
from random import Random

from tests.cluster.calls.asking import Outcome
from tests.cluster.calls.load import Load
from tests.cluster.calls.measuring import answered_a_second
from tests.cluster.calls.record import Call


def run(load: Load, rate: float, callers: int, enough: int) -> None:
    async def driven() -> None:
        running = asyncio.create_task(load.run(rate, callers))
        while len(load.calls) < enough:
            await asyncio.sleep(0.01)
        load.is_over.set()
        await running

    asyncio.run(asyncio.wait_for(driven(), 30))


def test_calls_are_sent_while_others_wait_for_their_answers() -> None:
    in_flight, most = 0, 0

    async def ask() -> Outcome:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        while most < 20:  # none is answered before twenty are in flight
            await asyncio.sleep(0.01)
        in_flight -= 1
        return Outcome(2, "late")

    load = Load([("gRPC", ask)], Random(1))
    run(load, 200.0, 0, 50)
    assert most >= 20
    assert {(call.way, call.tries, call.failure) for call in load.calls} == {("gRPC", 2, "late")}


def test_ways_take_turns() -> None:
    async def ask() -> Outcome:
        return Outcome(1)

    load = Load([("gRPC", ask), ("REST", ask)], Random(1))
    run(load, 500.0, 0, 40)
    counts = [sum(call.way == way for call in load.calls) for way in ("gRPC", "REST")]
    assert abs(counts[0] - counts[1]) <= 1


def test_callers_of_a_closed_loop_ask_again_when_they_are_answered() -> None:
    async def ask() -> Outcome:
        await asyncio.sleep(0.001)
        return Outcome(1)

    load = Load([("gRPC", ask)], Random(1))
    run(load, 0.0, 4, 100)
    assert len(load.calls) >= 100


def test_the_capacity_is_what_was_answered_after_the_beginning() -> None:
    calls = [Call("gRPC", second / 10, second / 10 + 0.1, 1) for second in range(101)]
    assert round(answered_a_second(calls, 2.0)) == 10
