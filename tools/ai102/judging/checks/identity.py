"""Whether each answer belongs to its request: samples sent at once and in batches, against the same ones alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ai102.judging.answers import Answer, Compared, compared, is_same
from ai102.judging.error_rates import SHARES
from ai102.judging.finding import Finding
from ai102.judging.record import Record
from ai102.judging.sequential import first_crossing, log_wealth

# A near tie may turn when a sample is computed in a batch.
ALLOWED = 0.005


def identity(record: Record, part: float) -> Iterator[Finding]:
    """Answers among others that differ from the answer that the canary itself gave to the sample alone."""
    alone = {(one.target, one.position): one for one in compared(record, None, "alone")}
    together = [one for one in compared(record, None, "batch", "crowd", "again") if (one.target, one.position) in alone]
    differ = np.array([
        float(_differs(one.canary, alone[one.target, one.position].canary) and
              not _differs(one.primary, alone[one.target, one.position].primary))
        for one in together
    ])  # fmt: skip
    at = first_crossing(log_wealth(differ, ALLOWED, 0.0), SHARES["identity"] * part)
    mixed = [one for one, is_other in zip(together, differ, strict=True) if is_other]
    strangers = sum(any(_is_that(one, other) for other in alone.values()) for one in mixed)
    facts = {
        "answers among others": len(together),
        "differ from the answer alone": len(mixed),
        "are the answer to another sample": strangers,
    }
    says = f"{len(mixed)} of {len(together)} answers in batches and among other requests differ from those alone"
    if at is not None:
        models = ", ".join(dict.fromkeys(one.target.model for one in mixed))
        says += f" ({models}): answers do not belong to their requests"
    yield Finding("identity", record.subject.name, "stop" if at is not None else "quiet", says, facts)


def _differs(one: Answer | None, other: Answer | None) -> bool:
    return one is not None and other is not None and not is_same(one, other)


def _is_that(one: Compared, other: Compared) -> bool:
    """Whether the answer is the one to another sample."""
    is_another = one.target == other.target and one.position != other.position
    return is_another and one.canary is not None and other.canary is not None and is_same(one.canary, other.canary)
