"""Whether scores still mean what they meant: probability of the right label, confidence against accuracy, sums."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ai102.judging.answers import SUM_TOLERANCE, compared
from ai102.judging.error_rates import SHARES
from ai102.judging.finding import Finding
from ai102.judging.record import Record
from ai102.judging.sequential import first_crossing, log_wealth

# A good release may move the mean probability of the right label, and the mean confidence, by so much.
ALLOWED_RIGHT_SCORE, ALLOWED_CONFIDENCE, ALLOWED_BRIER = 0.03, 0.05, 0.02
BINS = 10


def right_scores(record: Record, part: float) -> Iterator[Finding]:
    """The probability of the right label, canary against version in service; and whether probabilities add up."""
    subject = record.subject
    for target in subject.targets:
        if not target.scores:
            continue
        rows = [
            (one.position, one.canary.scores, one.primary.scores)
            for one in compared(record, target, "alone")
            if one.canary and one.primary and one.canary.scores is not None and one.primary.scores is not None
        ]
        if not rows:
            continue
        canary, primary = np.stack([row[1] for row in rows]), np.stack([row[2] for row in rows])
        wanted = primary.argmax(axis=1)
        if subject.labels is not None:
            wanted = subject.labels[[row[0] for row in rows]]
        index = np.arange(len(rows))
        falls = (primary[index, wanted] - canary[index, wanted]).clip(-1, 1)
        at = first_crossing(log_wealth(falls, ALLOWED_RIGHT_SCORE, -1.0), SHARES["right score"] * part)
        off = np.abs(canary.sum(axis=1) - 1) > SUM_TOLERANCE
        add_up = bool((np.abs(primary.sum(axis=1) - 1) <= SUM_TOLERANCE).all())
        facts = {
            "pipeline": target.model,
            "samples": len(rows),
            "mean fall of the right label's score": float(falls.mean()),
            "allowed": ALLOWED_RIGHT_SCORE,
            "falls": np.histogram(falls, 41, (-1, 1))[0].tolist(),
            "sums off": int(off.sum()),
        }
        says = f"{target.model}: the score of the right label falls by {falls.mean():+.3f} on average of {len(rows)}"
        if add_up and off.any():
            says = f"{target.model}: {int(off.sum())} of {len(rows)} answers' probabilities do not add up to 1"
            yield Finding("scores", subject.name, "stop", says, facts)
        else:
            says += f", allowed are {ALLOWED_RIGHT_SCORE:g}"
            yield Finding("scores", subject.name, "stop" if at is not None else "quiet", says, facts)


def calibration(record: Record, part: float) -> Iterator[Finding]:
    """Confidence against accuracy, compared with the version in service."""
    subject = record.subject
    if subject.labels is None or not record.has_primary:
        return
    share = SHARES["calibration"] * part / (3 * len(subject.targets))
    for target in subject.targets:
        rows = [
            (one.canary.confidence, one.canary.label == wanted, one.primary.confidence, one.primary.label == wanted)
            for one in compared(record, target, "alone")
            if one.canary and one.primary and not one.canary.fault and not one.primary.fault
            for wanted in [subject.labels[one.position]]
        ]
        table = np.array(rows, float).reshape(-1, 4)
        if not len(table) or not np.isfinite(table).all():
            continue
        outside = (table[:, 0] < -1e-6) | (table[:, 0] > 1 + 1e-6)
        if outside.any() and ((table[:, 2] >= -1e-6) & (table[:, 2] <= 1 + 1e-6)).all():
            says = f"{target.model}: {int(outside.sum())} of {len(table)} scores are no probabilities"
            yield Finding("calibration", subject.name, "stop", says, {"pipeline": target.model})
            continue
        confidence, right, other_confidence, other_right = table.T
        shift = (confidence - other_confidence).clip(-1, 1)
        brier = ((confidence - right) ** 2 - (other_confidence - other_right) ** 2).clip(-1, 1)
        tests = {
            "surer": log_wealth(shift, ALLOWED_CONFIDENCE, -1.0),
            "less sure": log_wealth(-shift, ALLOWED_CONFIDENCE, -1.0),
            "worse calibrated": log_wealth(brier, ALLOWED_BRIER, -1.0),
        }
        crossed = [name for name, wealth in tests.items() if first_crossing(wealth, share) is not None]
        errors = [calibration_error(confidence, right), calibration_error(other_confidence, other_right)]
        facts = {
            "pipeline": target.model,
            "samples": len(table),
            "mean confidence": [float(confidence.mean()), float(other_confidence.mean())],
            "accuracy": [float(right.mean()), float(other_right.mean())],
            "expected calibration error": errors,
            "reliability": [reliability(confidence, right), reliability(other_confidence, other_right)],
        }
        says = (
            f"{target.model}: mean confidence {confidence.mean():.3f} with {100 * right.mean():.1f} % right, "
            f"in service {other_confidence.mean():.3f} with {100 * other_right.mean():.1f} %; "
            f"calibration error {errors[0]:.3f}, in service {errors[1]:.3f}"
        )
        if crossed:
            says += f": {' and '.join(crossed)} than allowed"
        yield Finding("calibration", subject.name, "stop" if crossed else "quiet", says, facts)


def reliability(confidence: NDArray[np.float64], right: NDArray[np.float64]) -> list[list[float]]:
    """For each tenth of confidence with samples: their mean confidence, their share of right answers, their number."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1).clip(0)
    return [
        [float(confidence[place == number].mean()), float(right[place == number].mean()), int((place == number).sum())]
        for number in range(BINS)
        if (place == number).any()
    ]


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """The expected calibration error with ten equal bins (Guo et al. 2017, ICML)."""
    return sum(abs(mean - share) * count for mean, share, count in reliability(confidence, right)) / len(confidence)
