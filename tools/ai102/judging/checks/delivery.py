"""Whether calls are answered at all, and with what the contract says: types, shapes, finite numbers, refusals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from ai102.judging.answers import of_pair
from ai102.judging.error_rates import SHARES
from ai102.judging.finding import Finding
from ai102.judging.record import Pair, Record
from ai102.judging.sequential import RARE_FRACTIONS, first_crossing, log_wealth

# What Triton says when the process of a Python model has ended; a good release does not do that once.
CRASHED = "stub process"


def errors(record: Record, part: float) -> Iterator[Finding]:
    """Calls that fail on the canary and not on the version in service, against what the contract's goal allows.

    Each pipeline is a sequence of its own: pooled with one that never fails, a failing one would hide behind it.
    """
    pairs = [pair for pair in record.of() if pair.call.purpose not in ("bad", "first")]
    failed = [pair for pair in pairs if pair.canary.outputs is None]
    targets = record.subject.targets
    allowed = max((target.allowed_failures for target in targets), default=0.001)
    alone: Counter[str] = Counter()
    is_over = False
    for target in targets:
        mine = np.array([float(_fails_alone(pair)) for pair in pairs if pair.call.target is target])
        alone[target.model] = int(mine.sum())
        wealth = log_wealth(mine, target.allowed_failures, 0.0, RARE_FRACTIONS)
        is_over |= first_crossing(wealth, SHARES["errors"] * part / len(targets)) is not None
    kinds = Counter(_named(pair) for pair in failed)
    crashes = [pair for pair in failed if CRASHED in pair.canary.error.lower()]
    facts = {
        "crashes": len(crashes),
        "calls": len(pairs),
        "failed": len(failed),
        "failed on the canary alone": alone.total(),
        "by pipeline": {model: count for model, count in alone.items() if count},
        "allowed percent": 100 * allowed,
        "errors": dict(kinds.most_common(5)),
    }
    says = f"{alone.total()} of {len(pairs)} calls failed on the canary alone; the goal allows {100 * allowed:g} %"
    if is_over and kinds and not crashes:
        says += f"; most often: {kinds.most_common(1)[0][0]}"
    if crashes:
        says += f"; a process ended: {_named(crashes[0])}"
    yield Finding("errors", record.subject.name, "stop" if crashes or is_over else "quiet", says, facts)


def _fails_alone(pair: Pair) -> bool:
    return pair.canary.outputs is None and (pair.primary is None or pair.primary.outputs is not None)


def form(record: Record, part: float) -> Iterator[Finding]:
    """Answers of another type or shape than the contract's, NaN and infinity; a good release gives none."""
    faults: Counter[str] = Counter()
    first: dict[str, str] = {}
    count = 0
    for pair in record.of():
        if pair.call.purpose == "bad":
            continue
        for one in of_pair(record, pair):
            count += 1
            if one.canary and one.canary.fault and not (one.primary and one.primary.fault == one.canary.fault):
                fault = f"{pair.call.target.model}: {one.canary.fault}"
                faults[fault] += 1
                first.setdefault(fault, _sample(record, one.position))
    facts = {"answers": count, "faults": dict(faults), "labels of faults": _labels_of_faults(record)}
    if faults:
        fault, times = faults.most_common(1)[0]
        says = f"{times} of {count} answers: {fault} (first {first[fault]})"
        yield Finding("form of answers", record.subject.name, "stop", says, facts)
    else:
        says = f"all {count} answers have the contract's types and shapes and finite numbers"
        yield Finding("form of answers", record.subject.name, "quiet", says, facts)


def refusals(record: Record, part: float) -> Iterator[Finding]:
    """Bad requests that the version in service refuses and the canary answers, or fails on."""
    bad = list(record.of(None, "bad"))
    wrong = [
        f"{pair.call.target.model} {'answers' if pair.canary.outputs is not None else 'fails on'} {pair.call.form}"
        for pair in bad
        if (pair.primary is None or pair.primary.is_refusal) and not pair.canary.is_refusal
    ]
    facts = {"bad requests": len(bad), "not refused": wrong}
    says = f"{len(bad)} bad requests, {len(bad) - len(wrong)} treated as by the version in service"
    if wrong:
        says = f"{wrong[0]}, which must be refused; {len(wrong)} of {len(bad)} bad requests are not"
    yield Finding("refusals", record.subject.name, "stop" if wrong else "quiet", says, facts)


def _named(pair: Pair) -> str:
    """The error of a failed call, which names the pipeline."""
    model, error = pair.call.target.model, pair.canary.error[:200]
    return error if model in error else f"{model}: {error}"


def _sample(record: Record, position: int) -> str:
    labels = record.subject.labels
    if position < 0:
        return "a made-up text"
    name = f", {record.subject.network.labels[labels[position]]}" if labels is not None else ""
    return f"sample {position}{name}"


def _labels_of_faults(record: Record) -> dict[str, int]:
    """How many faulty answers samples of each right label got."""
    labels = record.subject.labels
    if labels is None:
        return {}
    counts: Counter[str] = Counter()
    for pair in record.of(None, "alone"):
        for one in of_pair(record, pair):
            if one.canary and one.canary.fault:
                counts[record.subject.network.labels[labels[one.position]]] += 1
    return dict(counts)
