"""Whether the canary is as right as the version in service, sample by sample, and keeps to the contract's budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from ai102.contract import Budget
from ai102.int8.score import cosine_stats, nearest_neighbour_agreement
from ai102.judging import agreement
from ai102.judging.agreement import STOP
from ai102.judging.answers import Answer, compared, cosine_distance
from ai102.judging.error_rates import SHARES
from ai102.judging.finding import Finding, State
from ai102.judging.record import Record
from ai102.judging.sequential import first_crossing, log_wealth
from ai102.judging.subject import Subject

CONSTANT_FROM = 20
STATES: dict[int, State] = {agreement.OPEN: "open", agreement.STOP: "stop", agreement.PASS: "pass"}
# Where a network's budget has no bound for an embedding.
LEAST_COSINE, LEAST_MEAN_COSINE = 0.98, 0.99


@dataclass(frozen=True)
class Paired:
    """Every sample that both answered, in order: lost where the canary alone is wrong, won where it alone is right."""

    positions: NDArray[np.int64]
    lost: NDArray[np.bool_]
    won: NDArray[np.bool_]
    lost_by: Counter[str]  # pipeline
    against: str  # whom


def paired(record: Record) -> Paired:
    """By labels where there are any, else by the answers of the version in service; without one by the canary's FP32.

    A sample is lost where any pipeline loses it: they all run the same network.
    """
    subject = record.subject
    lost: dict[int, bool] = {}
    won: dict[int, bool] = {}
    by: Counter[str] = Counter()
    for one in compared(record, None, "alone"):
        reference = one.primary or _fp32(record, one.position)
        if one.canary is None or reference is None:
            continue
        was, now = (
            _is_right(subject, one.position, reference, reference),
            _is_right(subject, one.position, one.canary, reference),
        )
        lost[one.position] = lost.get(one.position, False) or (was and not now)
        won[one.position] = won.get(one.position, True) and now and not was
        by[one.target.model] += was and not now
    positions = sorted(lost)
    flags = [np.array([table[position] for position in positions], bool) for table in (lost, won)]
    against = "the version in service" if record.has_primary else "its own FP32 network"
    return Paired(np.array(positions, np.int64), flags[0], flags[1], +by, against)


def _fp32(record: Record, position: int) -> Answer | None:
    row = record.fp32.get(position)
    if record.has_primary or row is None:
        return None
    values = row.astype(np.float64)
    if record.subject.is_labelling:
        return Answer(int(values.argmax()), float(values.max()), values)
    return Answer(vector=values)


def _is_right(subject: Subject, position: int, answer: Answer, reference: Answer) -> bool:
    if answer.fault:
        return False
    if subject.is_labelling:
        wanted = subject.labels[position] if subject.labels is not None else reference.label
        return bool(answer.label == wanted)
    return cosine_distance(answer, reference) <= 1 - far(subject.network.budget)


def far(budget: Budget | None) -> float:
    """The cosine below which two embeddings are too far apart: each may be off FP32 by the budget, to either side."""
    return _twice(budget.min_cosine if budget and budget.min_cosine is not None else LEAST_COSINE)


def _twice(cosine: float) -> float:
    """The cosine of twice the angle."""
    return 2 * cosine**2 - 1


def answers(record: Record, part: float) -> Iterator[Finding]:
    """Right answers lost and won; ai102.judging.agreement decides."""
    subject, pair = record.subject, paired(record)
    rule = agreement.rule(len(subject.items), part)
    asked = len(pair.positions)
    if not asked:
        if record.is_complete:
            says = "no sample was answered by the canary and by something to compare it with"
            yield Finding("answers", subject.name, "note", says)
        return
    # A sample whose call failed is counted by the check of errors, and tells nothing here.
    lost, won = pair.lost, pair.won
    if record.asked == len(subject.items) and asked < rule.size:
        rule = agreement.rule(asked, part)
    state, at = agreement.decide(rule, lost, won)
    count, gained = int(lost.sum()), int(won.sum())
    facts = {
        "against": pair.against,
        "samples": asked,
        "lost": count,
        "won": gained,
        "lost by pipeline": dict(pair.lost_by),
        "decided after": int(at),
        "promoted at most 5 percent of the time, from a drop of points": round(100 * rule.excluded_drop, 2),
        "stopped at least 95 percent of the time, from a drop of points": round(100 * rule.smallest_stopped, 2),
        "lost so far": np.flatnonzero(lost).tolist(),
        "won so far": np.flatnonzero(won).tolist(),
        "curve": _curve(lost, won),
        "few lost": rule.few_lost[1:].tolist()[:asked],
        "limit at the end": rule.balance,
    }
    if subject.labels is not None:
        facts |= _top1(record)
    what = "right answers" if subject.is_labelling else "embeddings"
    says = f"{count} {what} lost and {gained} won against {pair.against}, of {asked} samples"
    if int(state) == STOP:
        says += f", clear after {int(at)}"
        if pair.lost_by and len(pair.lost_by) < len({target.model for target in subject.targets}):
            says += f"; only by {', '.join(pair.lost_by)}"
        if labels := _lost_labels(record, pair):
            says += f"; most of them {labels}"
    elif int(state) == agreement.PASS:
        says += f": a drop of {100 * rule.excluded_drop:.1f} points is excluded after {int(at)}"
    else:
        says += f": a drop of {100 * rule.excluded_drop:.1f} points is not excluded"
    yield Finding("answers", subject.name, STATES[int(state)], says, facts)


def _curve(lost: NDArray[np.bool_], won: NDArray[np.bool_]) -> list[int]:
    return (lost.astype(int) - won).cumsum().tolist()


def _lost_labels(record: Record, pair: Paired) -> str:
    labels = record.subject.labels
    if labels is None:
        return ""
    counts = Counter(record.subject.network.labels[labels[position]] for position in pair.positions[pair.lost])
    label, count = counts.most_common(1)[0]
    return f'"{label}"' if count > 0.6 * pair.lost.sum() else ""


def _top1(record: Record) -> dict[str, float]:
    """The share of right answers of each side, over all pipelines."""
    subject = record.subject
    assert subject.labels is not None
    right: dict[str, list[bool]] = {"canary": [], "version in service": []}
    for one in compared(record, None, "alone"):
        for side, answer in zip(right, (one.canary, one.primary), strict=True):
            if answer is not None:
                right[side].append(answer.label == subject.labels[one.position])
    return {f"top-1 percent, {side}": round(100 * float(np.mean(flags)), 3) for side, flags in right.items() if flags}


def constant(record: Record, part: float) -> Iterator[Finding]:
    """One answer to samples that the version in service, or the labels, tell apart; a good release never does it."""
    subject = record.subject
    for target in subject.targets:
        rows = [one for one in compared(record, target, "alone") if one.canary and not one.canary.fault]
        if len(rows) < CONSTANT_FROM:
            continue
        mine = {_key(one.canary) for one in rows}
        others = {_key(one.primary) for one in rows} if record.has_primary else set()
        if subject.labels is not None:
            others |= {(int(subject.labels[one.position]),) for one in rows}
        facts = {"pipeline": target.model, "samples": len(rows), "different answers": len(mine)}
        is_constant = len(mine) == 1 and len(others) > 1
        says = f"{target.model}: {len(mine)} different answers to {len(rows)} samples"
        if is_constant:
            says = f"{target.model} gives one answer to all of {len(rows)} samples"
        yield Finding("constant answers", subject.name, "stop" if is_constant else "quiet", says, facts)


def _key(answer: Answer | None) -> tuple[float, ...]:
    if answer is None:
        return ()
    return (answer.label,) if answer.vector is None else tuple(np.round(answer.vector[:8], 4))


def distance(record: Record, part: float) -> Iterator[Finding]:
    """Embeddings on average further from the version in service than two networks within the budget can be."""
    subject, budget = record.subject, record.subject.network.budget
    if subject.is_labelling or not record.has_primary:
        return
    least = budget.min_mean_cosine if budget and budget.min_mean_cosine is not None else LEAST_MEAN_COSINE
    allowed = 1 - _twice(least)
    distances = np.array([
        cosine_distance(one.canary, one.primary)
        for one in compared(record, None, "alone")
        if one.canary and one.primary and not one.primary.fault
    ])  # fmt: skip
    if not len(distances):
        return
    at = first_crossing(log_wealth(distances.clip(0, 2), allowed, 0.0), SHARES["distance"] * part)
    facts = {
        "samples": len(distances),
        "mean cosine": 1 - float(distances.mean()),
        "least cosine": 1 - float(distances.max()),
        "allowed mean cosine": 1 - allowed,
        "cosines": _histogram(np.asarray(1.0 - distances, np.float64)),
    }
    says = (
        f"cosine to the version in service: mean {1 - distances.mean():.4f}, least {1 - distances.max():.4f} "
        f"of {len(distances)}; the budget allows a mean of {1 - allowed:.4f}"
    )
    yield Finding("distance", subject.name, "stop" if at is not None else "quiet", says, facts)


def _histogram(values: NDArray[np.float64]) -> dict[str, list[float]]:
    low = min(float(values.min()), 0.9)
    counts, edges = np.histogram(values, 30, (low, 1.0 + 1e-9))
    return {"counts": counts.tolist(), "edges": edges.tolist()}


def floor(record: Record, part: float) -> Iterator[Finding]:
    """Top-1 below what the contract asks of FP32, less the drop that it allows."""
    subject, budget = record.subject, record.subject.network.budget
    if subject.labels is None or budget is None or budget.min_top1_percent is None:
        return
    least = budget.min_top1_percent - (budget.max_top1_drop_points or 0.0)
    wrong: dict[int, bool] = {}
    for one in compared(record, None, "alone"):
        if one.canary is not None:
            is_wrong = bool(one.canary.label != subject.labels[one.position])
            wrong[one.position] = wrong.get(one.position, False) or is_wrong
    values = np.array(list(wrong.values()), float)
    at = first_crossing(log_wealth(values, max(0.001, 1 - least / 100), 0.0), SHARES["floor"] * part)
    right = len(values) - int(values.sum())
    says = f"{right} of {len(values)} samples are right; the contract wants {least:g} % top-1"
    facts = {"samples": len(values), "wrong": int(values.sum()), "wanted percent": least}
    yield Finding("floor", subject.name, "stop" if at is not None else "quiet", says, facts)


def budget(record: Record, part: float) -> Iterator[Finding]:
    """The contract's budget between the canary's pipelines and its own FP32 network, as at the build.

    Both are the release's own, and the build has compared them on the same samples: a good release passes.
    """
    subject, bounds = record.subject, record.subject.network.budget
    if bounds is None or not record.is_complete:
        return
    if not record.fp32:
        yield Finding("budget", subject.name, "note", "the canary does not serve its FP32 network")
        return
    for target in subject.targets:
        rows = {
            one.position: one.canary for one in compared(record, target, "alone") if one.canary and not one.canary.fault
        }
        rows = {position: answer for position, answer in rows.items() if position in record.fp32}
        if rows:
            yield _budget_of(record, target.model, rows)


def _budget_of(record: Record, model: str, rows: dict[int, Answer]) -> Finding:
    subject, bounds = record.subject, record.subject.network.budget
    assert bounds is not None
    fp32 = np.stack([record.fp32[position].astype(np.float64) for position in rows])
    facts: dict[str, object] = {"pipeline": model, "samples": len(rows)}
    wrong = []
    if subject.is_labelling:
        labels = subject.labels[list(rows)] if subject.labels is not None else fp32.argmax(axis=1)
        mine = np.array([answer.label for answer in rows.values()])
        before, after = 100 * float((fp32.argmax(axis=1) == labels).mean()), 100 * float((mine == labels).mean())
        facts |= {"FP32 top-1 percent": before, "top-1 percent": after, "drop points": before - after}
        says = f"{model}: top-1 {after:.2f} %, its own FP32 {before:.2f} % of {len(rows)}"
        allowed = bounds.max_top1_drop_points
        # One sample more than the budget may turn between two kinds of CPU.
        if allowed is not None and before - after > allowed + 100 / len(rows):
            wrong.append(f"the drop is {before - after:.2f} points, allowed are {allowed:g}")
    else:
        mine = np.stack([answer.vector for answer in rows.values() if answer.vector is not None])
        if mine.shape != fp32.shape or not mine.any(axis=1).all() or not fp32.any(axis=1).all():
            return Finding("budget", subject.name, "stop", f"{model}: embeddings of zero, or of another width", facts)
        mean, least = cosine_stats(fp32, mine)
        facts |= {"mean cosine": mean, "least cosine": least}
        says = f"{model}: cosine to its own FP32 mean {mean:.4f}, least {least:.4f} of {len(rows)}"
        slack = 0.3 / sqrt(len(rows))  # the build judged the whole set, this is a part of it
        if bounds.min_mean_cosine is not None and mean < bounds.min_mean_cosine - (
            0 if subject.is_whole_set else 0.1 * slack
        ):
            wrong.append(f"the mean is below {bounds.min_mean_cosine:g}")
        if bounds.min_cosine is not None and least < bounds.min_cosine:
            wrong.append(f"the least is below {bounds.min_cosine:g}")
        neighbours = bounds.min_nearest_neighbour_percent
        if neighbours is not None and subject.is_whole_set and len(rows) == subject.set_size:
            share = 100 * nearest_neighbour_agreement(fp32, mine)
            facts["nearest neighbour percent"] = share
            if share < neighbours:
                wrong.append(f"the nearest neighbour agrees for {share:.1f} %, wanted {neighbours:g} %")
    state: State = "stop" if wrong else "quiet"
    return Finding("budget", subject.name, state, f"{says}: over budget: {'; '.join(wrong)}" if wrong else says, facts)
