"""Shared memory under injected failures, on a clock of the test's own: no registered region is forgotten."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from ai102.client.addresses import Balancer
from ai102.client.calls import Answer, Call, Infer, Register, Unregister
from ai102.client.errors import InferenceError, error_from_answer, no_server, too_late
from ai102.client.exchange import Attempt, Deadline, Pause, Retry, Steps, exchange
from ai102.client.memory.segments import SMALLEST
from ai102.client.memory.session import CLOSE_S, MOST_ABANDONED, Memory
from ai102.client.tensors import Raw, raw_from_array
from tests.client.conftest import regions

URL = "grpc://127.0.0.1:8001"
CALLS = 10_000
LARGE = Infer("mood", (raw_from_array("x", np.zeros(SMALLEST // 2, np.uint8)),))
REFUSED = no_server(URL, "Connection refused")
BROKE = no_server(URL, "the connection broke", was_sent=True)


@dataclass
class FakeTriton:
    """Registers and unregisters as Triton does. `fault` names what goes wrong with a call, if anything."""

    fault: Callable[[Call], str]
    now: float = 0.0
    used_until: dict[str, float] = field(default_factory=dict)  # by region; 0 where no request uses it
    keys: set[str] = field(default_factory=set)  # of every segment that it was to register

    def answer(self, call: Call, timeout_s: float) -> Any:
        """Raises InferenceError. Time passes."""
        if isinstance(call, Register):
            self.keys.add(call.key.lstrip("/"))
        fault = self.fault(call)
        if fault == "restart":
            self.used_until.clear()
            fault = "down"
        if fault == "down":
            raise REFUSED
        if fault == "lost request":
            raise BROKE
        if fault == "hung":
            self.now += timeout_s
            raise too_late(URL, timeout_s, call.model, 1)
        if fault == "given up":
            if isinstance(call, Infer):
                for region in {region.name for region in call.inputs_at.values()} & self.used_until.keys():
                    self.used_until[region] = self.now + 3 * timeout_s
            else:
                self._do(call)
            self.now += timeout_s
            raise too_late(URL, timeout_s, call.model, 1)
        self.now += 0.001
        answer = self._do(call)
        if fault == "lost answer":
            raise BROKE
        if fault == "failed":
            raise error_from_answer("500", "no such length", call.model)
        return answer

    def _do(self, call: Call) -> Any:
        if isinstance(call, Register):
            if call.region in self.used_until:
                raise error_from_answer("400", f"shared memory region '{call.region}' already in manager", "")
            if call.key.lstrip("/") not in regions():  # its owner has removed it
                raise error_from_answer("500", f"Unable to open shared memory region: '{call.key}'", "")
            self.used_until[call.region] = 0.0
        elif isinstance(call, Unregister):
            if self.used_until.get(call.region, 0.0) > self.now:
                words = f"Cannot unregister shared memory region '{call.region}', it is currently in use."
                raise error_from_answer("500", words, "")
            self.used_until.pop(call.region, None)
        elif isinstance(call, Infer):
            for region in call.inputs_at.values():
                if region.name not in self.used_until:
                    raise error_from_answer("404", f"Unable to find shared memory region: '{region.name}'", call.model)
            return Answer(call.model, "1", "", {"y": Raw("y", "UINT8", (1,), b"\0")})
        return None


class Driver:
    """One client's memory before a fake Triton."""

    def __init__(self, triton: FakeTriton, *, is_insisted: bool = False) -> None:
        self.triton = triton
        self.balancer = Balancer(("127.0.0.1:8001",), lambda: triton.now)
        self.memory = Memory(URL, is_insisted, lambda: triton.now, self._ask)

    def _ask(self, call: Call, deadline: Deadline, *, note: Any = None, tries: int = 3) -> Steps:
        return exchange(call, self.balancer, Retry(tries), deadline, URL, lambda: 0.0, note)

    def infer(self, timeout_s: float = 0.2) -> Answer | InferenceError | None:
        """None where the tensors stay on the wire."""
        try:
            answer: Answer | None = self.run(self.memory.infer(LARGE, Deadline.after(timeout_s, self.triton.now)))
        except InferenceError as err:
            return err
        if answer is None:
            self.triton.now += 0.002
        return answer

    def run(self, steps: Steps) -> Any:
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    self.triton.now += step.seconds
                    step = steps.send(None)
                    continue
                assert isinstance(step, Attempt)
                try:
                    answer = self.triton.answer(step.call, step.timeout_s)
                except InferenceError as err:
                    step = steps.throw(err)
                else:
                    step = steps.send(answer)
        except StopIteration as done:
            return done.value


FAULTS = ("down", "lost request", "lost answer", "hung", "given up", "failed")


@pytest.mark.parametrize("seed", [1, 2])
def test_no_region_is_left_after_many_calls_with_every_failure(seed: int) -> None:
    draw = random.Random(seed)

    def fault(call: Call) -> str:
        if draw.random() < 0.001:
            return "restart"
        drawn = draw.choice(FAULTS) if draw.random() < 0.1 else ""
        # A server that refuses to register at all gets no regions any more, which is another test's matter.
        return "" if drawn == "failed" and isinstance(call, Register) else drawn

    triton = FakeTriton(fault)
    driver = Driver(triton)
    worst = through = 0
    for _ in range(CALLS):
        through += isinstance(driver.infer(), Answer)
        worst = max(worst, len(triton.used_until))
    assert 3 < worst <= MOST_ABANDONED + 1
    assert through > CALLS / 2
    triton.fault = lambda call: ""
    driver.run(driver.memory.close({}))
    assert list(triton.used_until) == []
    assert triton.keys & regions() == set()


def test_a_region_whose_unregistering_is_slow_does_not_have_the_others_forgotten() -> None:
    """The sweep's time is over after the first; the others were not asked about, and are kept."""
    triton = FakeTriton(lambda call: "given up" if isinstance(call, Infer) else "")
    driver = Driver(triton)
    for _ in range(4):
        driver.infer()
    triton.fault = lambda call: "hung" if isinstance(call, Unregister) else ""
    for _ in range(4):
        triton.now += 1.0
        driver.infer(timeout_s=9.0)
    assert len(triton.used_until) == 5
    triton.fault = lambda call: ""
    triton.now += 1.0
    driver.infer()
    assert len(triton.used_until) == 1


def test_a_server_that_lets_go_of_nothing_gets_no_more_regions() -> None:
    faults: dict[type, str] = {Infer: "given up", Unregister: "hung"}
    triton = FakeTriton(lambda call: faults.get(type(call), ""))
    driver = Driver(triton)
    for _ in range(5 * MOST_ABANDONED):
        driver.infer()
    assert len(triton.used_until) == MOST_ABANDONED
    assert driver.infer() is None  # the wire


def test_a_region_in_use_is_waited_for_when_the_client_closes() -> None:
    triton = FakeTriton(lambda call: "given up" if isinstance(call, Infer) else "")
    driver = Driver(triton)
    driver.infer(timeout_s=0.3)
    triton.fault = lambda call: ""
    driver.run(driver.memory.close({}))
    assert list(triton.used_until) == []


def test_a_client_that_closes_says_which_regions_it_leaves_behind() -> None:
    triton = FakeTriton(lambda call: "")
    driver = Driver(triton)
    driver.infer()
    triton.fault = lambda call: "hung"
    began = triton.now
    with pytest.warns(ResourceWarning, match="may keep 1 shared-memory region"):
        driver.run(driver.memory.close({}))
    assert triton.now - began <= CLOSE_S


def test_a_server_that_has_ended_has_no_regions_and_is_not_waited_for() -> None:
    triton = FakeTriton(lambda call: "")
    driver = Driver(triton)
    driver.infer()
    triton.fault = lambda call: "restart"
    began = triton.now
    driver.run(driver.memory.close({}))
    assert triton.now == began
