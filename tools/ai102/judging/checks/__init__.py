"""What is checked: functions of the record; a stop by an earlier one of the table is the reason that is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ai102.judging.checks import agree, delivery, formats, growth, identity, latency, scores
from ai102.judging.finding import Finding
from ai102.judging.record import Record

# A check: the record, and the part of its share of wrong stops that this network may use.
Check = Callable[[Record, float], Iterator[Finding]]
CHECKS: Mapping[str, Check] = {
    "errors": delivery.errors,
    "form of answers": delivery.form,
    "refusals": delivery.refusals,
    "identity": identity.identity,
    "constant answers": agree.constant,
    "answers": agree.answers,
    "distance": agree.distance,
    "floor": agree.floor,
    "formats": formats.formats,
    "scores": scores.right_scores,
    "calibration": scores.calibration,
    "budget": agree.budget,
    "memory": growth.memory,
    "latency": latency.slower,
    "goal": latency.late,
    "first calls": latency.first_calls,
}


def findings_of(record: Record, part: float) -> list[Finding]:
    """What every check says now; `part` of the error rates is this network's."""
    return [finding for check in CHECKS.values() for finding in check(record, part)]
