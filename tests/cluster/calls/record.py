"""What became of each call of the load, and of all calls of a scenario: one row of the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

# A call that took longer was disturbed: replicas have a quarter of a processor each, and answer in some 0.1 s.
SLOW_S = 1.0


@dataclass(frozen=True)
class Call:
    """One call; times are of the monotonic clock, which the processes of a machine share."""

    way: str  # "gRPC" or "REST"
    due_s: float  # when the load wanted it sent: time that it waited in the load counts too
    ended_s: float
    tries: int
    failure: str = ""  # empty when the answer was right

    @property
    def took_s(self) -> float:
        return self.ended_s - self.due_s

    @property
    def is_disturbed(self) -> bool:
        return bool(self.failure) or self.took_s > SLOW_S


@dataclass(frozen=True)
class Row:
    """A scenario's line of the table."""

    scenario: str
    rate: float  # calls a second at the fault
    calls: int
    failed: int
    slowest_s: float
    recovery_s: float  # from the fault to the end of the last call that failed or was slow; 0: there was none
    last_failure_s: float  # from the fault to the moment the last call that failed was due; 0: none failed
    retries: int
    ways: dict[str, int] = field(default_factory=dict)  # calls by way
    failures: dict[str, int] = field(default_factory=dict)  # by the sentence of the failure, the most frequent first
    note: str = ""


def row_of(scenario: str, calls: Sequence[Call], fault_s: float, rate: float, note: str = "") -> Row:
    """The row of a scenario whose fault began at `fault_s`. Raises ValueError when no call was made."""
    if not calls:
        raise ValueError(f"{scenario}: no call was made")
    failed = [call for call in calls if call.failure]
    disturbed = [call for call in calls if call.is_disturbed and call.ended_s > fault_s]
    return Row(
        scenario=scenario,
        rate=round(rate, 1),
        calls=len(calls),
        failed=len(failed),
        slowest_s=round(max(call.took_s for call in calls), 3),
        recovery_s=round(max((call.ended_s - fault_s for call in disturbed), default=0.0), 2),
        last_failure_s=round(max((call.due_s - fault_s for call in failed), default=0.0), 2),
        retries=sum(call.tries - 1 for call in calls),
        ways=dict(sorted(Counter(call.way for call in calls).items())),
        failures=dict(Counter(call.failure for call in failed).most_common()),
        note=note,
    )
