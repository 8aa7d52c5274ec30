"""The twelve scenarios: what happens, and what may become of calls meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.cluster.calls import deaths, releases, silences, sizes
from tests.cluster.calls.driving import Driven
from tests.cluster.calls.record import Row
from tests.cluster.calls.stack import Stack


@dataclass(frozen=True)
class Goal:
    """Which share of the calls may fail, and how long after the fault the last of them may be due."""

    failed_share: float = 0.0
    within_s: float = 0.0

    def __str__(self) -> str:
        if not self.failed_share:
            return "0"
        return f"{self.failed_share:.1%}, all within {self.within_s:g} s"

    def is_met(self, row: Row) -> bool:
        return row.failed <= self.failed_share * row.calls and row.last_failure_s <= self.within_s


def _nothing(stack: Stack) -> None:
    return None


@dataclass(frozen=True)
class Scenario:
    """`run` causes it and gives the moment at which it began; it returns when all is as it should be again."""

    name: str
    run: Callable[[Stack, Driven], float]
    goal: Goal = Goal()
    before: Callable[[Stack], None] = _nothing
    after: Callable[[Stack], None] = _nothing
    share: float = 1.0  # of the load
    is_essential: bool = False
    is_sealed: bool = False  # some calls have sealed payloads


SCENARIOS = {
    1: Scenario("rolling restart", releases.restart, is_essential=True),
    2: Scenario("new models image", releases.release_models, is_essential=True),
    3: Scenario("kubectl rollout undo", releases.undo, before=releases.have_two_releases),
    4: Scenario(
        "scale 1-4-1",
        sizes.scale_up_and_down,
        before=sizes.scale_down,
        after=sizes.scale_back,
        share=1 / sizes.REPLICAS,
    ),
    5: Scenario("kubectl drain of a node", sizes.drain, after=sizes.open_nodes),
    6: Scenario("kill -9 of a Triton pod", deaths.kill_replica, is_essential=True),
    7: Scenario(
        "node cut off the network", deaths.cut_node, Goal(0.001, 3.0), after=deaths.join_nodes, is_essential=True
    ),
    8: Scenario("kill -9 of a gateway pod", deaths.kill_gateway),
    9: Scenario("CoreDNS gone for 60 s", silences.without_dns),
    10: Scenario("API server gone for 60 s", silences.without_control_plane),
    11: Scenario("issuer gone", silences.without_issuer, after=silences.bring_issuer_back),
    12: Scenario(
        "certificates, seal keys, secret rotated", releases.rotate, before=releases.prepare_rotation, is_sealed=True
    ),
}
