"""Whether the canary's memory grows with its calls."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ai102.judging.error_rates import SHARES
from ai102.judging.finding import Finding
from ai102.judging.record import Record
from ai102.judging.sequential import first_crossing, log_wealth

# Growth by so much a call is a leak, and what a server that does not leak may show: the share of its blocks of calls.
# The first is the smallest leak that is looked for, the second one that must be seen after a few calls.
LEAKS = ((100_000, 0.3), (1_000_000, 0.05))
# Blocks in which buffers and threads are made for the first time.
WARM_BLOCKS = 3


def memory(record: Record, part: float) -> Iterator[Finding]:
    """Blocks of calls in which memory grew, against the few in which that of a good server grows."""
    subject = record.subject
    calls = np.array([reading.calls for reading in record.memory], float)
    sizes = np.array([reading.bytes for reading in record.memory])
    spent = np.diff(calls)
    rates = (np.diff(sizes) / np.maximum(spent, 1))[spent > 0]
    if not len(rates):
        if record.is_complete:
            yield Finding("memory", subject.name, "note", "memory was not read: name its source by --metrics")
        return
    judged = rates[WARM_BLOCKS:]
    share = SHARES["memory"] * part / len(LEAKS)
    crossed = [
        size
        for size, allowed in LEAKS
        if first_crossing(log_wealth((judged >= size).astype(float), allowed, 0.0), share) is not None
    ]
    typical = float(np.median(judged)) if len(judged) else 0.0
    facts = {
        "calls": calls.tolist(),
        "bytes": sizes.tolist(),
        "bytes a call, median of blocks": typical,
        "seen from bytes a call": LEAKS[0][0],
    }
    says = (
        f"memory {sizes[0] / 1e6:.0f} MB before and {sizes[-1] / 1e6:.0f} MB after {calls[-1] - calls[0]:.0f} calls; "
        f"{typical / 1e3:+.0f} kB a call in the median of {len(judged)} blocks of calls"
    )
    if crossed:
        says += f"; it grew by {crossed[0] / 1e3:.0f} kB a call in {int((judged >= crossed[0]).sum())} of them: a leak"
    yield Finding("memory", subject.name, "stop" if crossed else "quiet", says, facts)
