"""A stack that Flagger has taken over, and the calls of callers while a release is on its way."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ai102.parts import Cache
from k8s.local.plan import Plan
from k8s.local.programs import Programs
from tests.cluster.calls.asking import BARE
from tests.cluster.calls.balancer import balancing
from tests.cluster.calls.driving import driven
from tests.cluster.calls.record import row_of
from tests.cluster.calls.stack import IMAGES, Stack
from tests.cluster.canary.releasing import settle, wait_taken_over
from tests.cluster.conftest import note
from tests.cluster.mesh.installing import install

# Calls a second. Two replicas of a quarter of a core carry some 40; here two more and the gate share their cores.
RATE = 10.0


@contextmanager
def led_stack(plan: Plan, programs: Programs, cache: Cache, overlay: Path) -> Iterator[Stack]:
    """The overlay, which Flagger has taken over, behind a load balancer."""
    stack = Stack(plan, programs.kubectl, overlay, (*IMAGES, "quality-gate"))
    install(stack, cache)
    began = time.monotonic()
    wait_taken_over(stack)
    settle(stack)
    note(f"{time.monotonic() - began:5.1f} s  from all pods ready to taken over by Flagger")
    with balancing(plan):
        yield stack


@contextmanager
def no_call_fails(stack: Stack, scenario: str) -> Iterator[float]:
    """Plain tritonclient calls in the block, which gets when it began. An answer unlike the first one has failed."""
    with driven(stack.plan, stack.place(), client=BARE, rate=RATE) as load:
        began_s = time.monotonic()
        yield began_s
        seconds = time.monotonic() - began_s
        row = row_of(scenario, load.end(), began_s, RATE)
    note(f"{seconds:5.1f} s  {scenario}: {row.failed} of {row.calls} calls failed, slowest {row.slowest_s:.2f} s")
    assert row.failures == {}
