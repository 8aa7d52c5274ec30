"""A scenario under load, and the capacity that the load is a share of."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.cluster.calls.asking import OURS, WAYS, WAYS_SEALED
from tests.cluster.calls.driving import CALLERS, driven
from tests.cluster.calls.record import Call, Row, row_of
from tests.cluster.calls.scenarios import Scenario
from tests.cluster.calls.stack import Stack

USED = 0.6  # of the capacity
CAPACITY_S, WARM_S = 12.0, 3.0
# Undisturbed before the fault, and after everything is as it should be.
BEFORE_S, AFTER_S = 3.0, 5.0


def capacity(stack: Stack) -> float:
    """Calls a second that all replicas answer together, when callers never wait. Raises UserError."""
    stack.wait_ready()
    with driven(stack.plan, stack.place(), callers=CALLERS) as load:
        load.wait(CAPACITY_S)
        calls = load.end()
    return answered_a_second(calls, WARM_S)


def answered_a_second(calls: Sequence[Call], warm_s: float) -> float:
    """Of the calls that ended after the first `warm_s`, until those in flight at the end begin to get fewer."""
    begins = min(call.due_s for call in calls) + warm_s
    ends = max(call.due_s for call in calls)
    return sum(begins < call.ended_s <= ends and not call.failure for call in calls) / (ends - begins)


def measured(stack: Stack, scenario: Scenario, rate: float, least_calls: int, client: str = OURS) -> Row:
    """The scenario under `rate` calls a second. Raises UserError when it does not come about."""
    stack.wait_ready()
    scenario.before(stack)
    ways = WAYS_SEALED if scenario.is_sealed and client == OURS else WAYS
    own_rate = rate * scenario.share
    with driven(stack.plan, stack.place(), client=client, ways=ways, rate=own_rate, least_calls=least_calls) as load:
        try:
            load.wait(BEFORE_S)
            fault_s = scenario.run(stack, load)
            after_s = time.monotonic() + AFTER_S
            if load.calls < least_calls:
                load.wait_for_calls()
            load.wait(max(after_s - time.monotonic(), 0.0))
            calls = load.end()
        finally:
            scenario.after(stack)
    return row_of(scenario.name, calls, fault_s, own_rate)
