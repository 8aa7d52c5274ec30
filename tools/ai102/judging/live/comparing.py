"""Whether two answers to the same call differ."""

from __future__ import annotations

from typing import NamedTuple

from ai102.judging.answers import SAME_SCORE, SURE
from ai102.judging.live.joining import Pair
from ai102.judging.live.record import Row

# The estimate from a sketch of 16 numbers is above 2.5 times the distance for one of 1,000 embeddings.
SKETCH_SLACK = 2.5


class Difference(NamedTuple):
    """`share` of the rows of a call that differ, 0 to 1, and `why` of the first that does; empty where none does."""

    share: float
    why: str
    scores: tuple[float, ...]  # canary less primary, of each row with two scores
    distances: tuple[float, ...]  # 1 - cosine, estimated, of each row with two sketches


def difference(pair: Pair, far: float) -> Difference:
    """Compare row by row; `far` is the cosine below which two embeddings differ."""
    canary, primary = pair
    if canary.error or primary.error:
        same = canary.error == primary.error
        who = "both" if canary.error and primary.error else "the canary" if canary.error else "the version in service"
        what = "in another way" if who == "both" else canary.error or primary.error
        return Difference(0.0 if same else 1.0, "" if same else f"{who} {what}", (), ())
    if len(canary.rows) != len(primary.rows):
        return Difference(1.0, "another number of rows", (), ())
    rows = list(zip(canary.rows, primary.rows, strict=True))
    whys = [_why(mine, other, far) for mine, other in rows]
    scores = tuple(
        mine.score - other.score for mine, other in rows if mine.score is not None and other.score is not None
    )
    distances = tuple(one for one in (estimated_distance(mine, other) for mine, other in rows) if one is not None)
    differing = [why for why in whys if why]
    return Difference(len(differing) / len(rows) if rows else 0.0, next(iter(differing), ""), scores, distances)


def _why(canary: Row, primary: Row, far: float) -> str:
    if [value is None for value in canary] != [value is None for value in primary]:
        return "another form"
    if canary.label != primary.label:
        # Of a near tie, two good networks may take either.
        is_near_tie = (
            canary.score is not None and primary.score is not None and min(canary.score, primary.score) <= SURE
        )
        return "" if is_near_tie else "another label"
    if canary.score is not None and primary.score is not None and abs(canary.score - primary.score) > SAME_SCORE:
        return "another score"
    distance = estimated_distance(canary, primary)
    if distance is not None and distance > SKETCH_SLACK * (1 - far):
        return "a distant embedding"
    return ""


def estimated_distance(first: Row, second: Row) -> float | None:
    """1 - cosine of the two embeddings as their sketches say it; None where one has no sketch."""
    if first.sketch is None or second.sketch is None:
        return None
    return sum((one - other) ** 2 for one, other in zip(first.sketch, second.sketch, strict=True)) / 2
