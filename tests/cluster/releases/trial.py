"""One trial: a release rolled out in one way under load, and what became of the callers' calls in 90 seconds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ai102.errors import UserError
from ai102.release.canary import GOING
from k8s.local.waiting import until
from tests.cluster.calls.asking import Place
from tests.cluster.calls.driving import started, write_line
from tests.cluster.calls.load import calls_from_text
from tests.cluster.calls.record import Call
from tests.cluster.canary.releasing import status, weights
from tests.cluster.releases.callers import WRONG
from tests.cluster.releases.load import Order
from tests.cluster.releases.ways import ALL_AT_ONCE, PRIMARY, Rollouts, State, reason, runs

LENGTH_S = 90.0
RATE = 20.0
LATE_S = 0.5
LOOK_EVERY_S = 0.5
SETTLED_WITHIN_S = 300.0
REPLICAS = 2
Say = Callable[[str], None]


@dataclass(frozen=True)
class Images:
    models: str
    server: str


@dataclass(frozen=True)
class Trial:
    """What came of it. Seconds are from the change of the Deployment; None: not within the trial."""

    release: str
    way: str
    calls: int
    failed: int
    wrong: int
    late: int
    most_percent: float  # of the calls that the release got
    stopped_s: float | None
    promoted_s: float | None
    reason: str

    @property
    def harmed(self) -> int:
        return self.failed + self.wrong + self.late

    @property
    def verdict(self) -> str:
        if self.stopped_s is not None:
            return f"stopped after {self.stopped_s:.0f} s at {self.most_percent:.0f} %"
        if self.promoted_s is not None:
            return f"everywhere after {self.promoted_s:.0f} s"
        return f"on its way at {self.most_percent:.0f} %"


def unwatched(line: str) -> None:
    """For trials that nobody watches."""


def tried(
    rollouts: Rollouts, place: Place, release: str, way: str, images: Images,
    watch: Say = unwatched, length_s: float = LENGTH_S,
) -> Trial:  # fmt: skip
    """Roll it out, wait for the end of the load, and count. Raises UserError where load or cluster fail.

    `watch` gets a line whenever the rollout has come further.
    """
    stack = rollouts.stack
    file = stack.plan.folder / "trial.json"
    order = Order(place, RATE, length_s, str(file))
    seen = Seen(way, watch)
    with started(stack.plan, "tests.cluster.releases.load", order) as load:
        write_line(load, "go")
        began_s, since = time.monotonic(), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        rollouts.begin(way, images.models, images.server)
        while time.monotonic() < began_s + length_s:
            seen.look(rollouts.state(way, images.models, images.server), time.monotonic() - began_s)
            time.sleep(LOOK_EVERY_S)
        if ended := load.wait(LENGTH_S):
            raise UserError(f"the load has ended with {ended}")
    counts = counted(calls_from_text(file.read_text(encoding="utf-8")))
    said = reason(stack, way, since) if seen.stopped_s is not None else ""
    return Trial(release, way, counts.total(), counts["failed"], counts["wrong"], counts["late"],
                 seen.most_percent, seen.stopped_s, seen.promoted_s, said)  # fmt: skip


class Seen:
    """What was seen of a rollout so far."""

    def __init__(self, way: str, watch: Say) -> None:
        self._way, self._watch, self._has_begun = way, watch, False
        self._last: State | None = None
        self.most_percent = 0.0
        self.stopped_s: float | None = None
        self.promoted_s: float | None = None

    def look(self, state: State, at_s: float) -> None:
        if state != self._last:
            self._last = state
            self._watch(f"{at_s:5.1f} s  {state.phase}, {state.percent:.0f} % of the calls go to the new release")
        self.most_percent = max(self.most_percent, state.percent)
        if self._way == ALL_AT_ONCE:
            if state.percent == 100 and self.promoted_s is None:
                self.promoted_s = round(at_s, 1)
            return
        self._has_begun = self._has_begun or state.phase in GOING
        if not self._has_begun:
            return
        if state.phase == "Failed" and self.stopped_s is None:
            self.stopped_s = round(at_s, 1)
        if state.phase in ("Promoting", "Finalising", "Succeeded") and self.promoted_s is None:
            self.promoted_s, self.most_percent = round(at_s, 1), 100.0


def counted(calls: Sequence[Call]) -> Counter[str]:
    """How many calls were answered rightly and in time, wrongly, late, or not at all."""
    return Counter(map(_fate, calls))


def _fate(call: Call) -> str:
    if call.failure == WRONG:
        return "wrong"
    if call.failure:
        return "failed"
    return "late" if call.took_s > LATE_S else "right"


def settle(rollouts: Rollouts, base: Images) -> None:
    """Until the release in service is the one given, on all its pods, and no other is on its way. Raises UserError."""
    stack = rollouts.stack

    def is_at_rest() -> bool:
        return status(stack).get("phase") not in GOING

    if not is_at_rest():
        rollouts.end()
        until(is_at_rest, "Flagger has gone back", SETTLED_WITHIN_S)
    if not all(runs(stack, pod.name, base.models, base.server) for pod in stack.pods("triton-primary")):
        rollouts.set_images(PRIMARY, base.models, base.server)

    def is_settled() -> bool:
        ready = stack.ready("triton-primary")
        is_base = all(runs(stack, pod.name, base.models, base.server) for pod in ready)
        others = [*stack.pods("triton"), *stack.ending("triton"), *stack.ending("triton-primary")]
        return len(ready) == REPLICAS and is_base and not others and weights(stack).get("triton-canary", 0) == 0

    until(is_settled, "the release in service runs alone", SETTLED_WITHIN_S)
