"""The live answers of one trial: what is known of them so far, and whether they stop the release.

Copies of calls are compared one by one. A canary with a share of the calls has calls of its own: there the answers'
distribution is compared, by ai102.judging.drift.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import log
from threading import Lock
from typing import Any

from ai102.judging.drift import Counts, Drift, bins_of, drift
from ai102.judging.error_rates import SHARES
from ai102.judging.finding import Finding
from ai102.judging.live.comparing import difference
from ai102.judging.live.joining import Joiner, Pair
from ai102.judging.live.record import Record, Side
from ai102.judging.sequential import Wealth

# A stop needs a share of differing answers that is surely above this one.
DIFFERING = 0.05
# As of networks without a budget: twice the angle of cosine 0.98.
FAR = 0.9208
ENOUGH_JOINED = 0.99
MOST_MODELS, MOST_KINDS, MOST_PHASES = 64, 200, 16
MOST_PROCESSES = 1024  # of pods and models
OTHERS = "others"


@dataclass
class _Phase:
    """Answers of both by kind since the canary's share of the calls was last changed."""

    labels: dict[Side, Counter[str]] = field(default_factory=lambda: {"canary": Counter(), "primary": Counter()})
    scores: dict[Side, Counter[str]] = field(default_factory=lambda: {"canary": Counter(), "primary": Counter()})

    def count(self, side: Side, record: Record) -> None:
        """The first row of a call alone: the rows of a call are alike, and one kind of answer may come in one call."""
        for counts, kind in ((self.labels, kind_of(record)), (self.scores, _bin_of(record))):
            if kind:
                is_new = kind not in counts["canary"] and kind not in counts["primary"]
                counts[side][
                    OTHERS if is_new and len(counts["canary"] | counts["primary"]) >= MOST_KINDS else kind
                ] += 1


@dataclass
class _Stream:
    """The answers of one pipeline."""

    far: float
    alpha: float  # its part of an error rate
    wealth: Wealth
    compared: int = 0
    differing: float = 0.0
    whys: Counter[str] = field(default_factory=Counter)
    scores: list[float] = field(default_factory=lambda: [0.0, 0.0])  # of differences: how many, sum of absolute values
    distances: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])  # how many, sum, largest
    phases: list[_Phase] = field(default_factory=lambda: [_Phase()])

    def compare(self, pair: Pair) -> None:
        found = difference(pair, self.far)
        self.compared += 1
        self.differing += found.share
        self.whys[found.why] += 1
        # One value a call: the rows of a call need not be independent.
        self.wealth.add(found.share)
        self.scores[0] += len(found.scores)
        self.scores[1] += sum(map(abs, found.scores))
        self.distances[0] += len(found.distances)
        self.distances[1] += sum(found.distances)
        self.distances[2] = max(self.distances[2], *found.distances, 0.0)

    def count(self, side: Side, record: Record) -> None:
        phase = self.phases[-1]
        if side == "canary" and not phase.labels["canary"]:
            # The canary has calls only from here on.
            phase = self.phases[-1] = _Phase()
        phase.count(side, record)

    def begin_phase(self) -> None:
        if self.phases[-1].labels["canary"] and len(self.phases) < MOST_PHASES:
            self.phases.append(_Phase())


class Trial:
    """Live answers of one revision. May be called by several threads.

    `wanted` is the number of calls that both must have answered before a promotion: the canary then gets a copy of each
    call, and answers are compared one by one. 0: it gets a share of the calls. `far` has the cosine below which
    embeddings of a pipeline differ.
    """

    def __init__(
        self, wanted: int = 0, differing: float = DIFFERING, far: Mapping[str, float] | None = None,
        joiner: Joiner | None = None, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.wanted, self.differing = wanted, differing
        self.stop = ""  # why; empty: no evidence of harm
        self.joiner = joiner or Joiner(clock)
        self.dropped = 0
        self._far = far or {}
        self._streams: dict[str, _Stream] = {}
        self._records: dict[Side, int] = {"canary": 0, "primary": 0}
        self._memory: dict[tuple[str, str], int] = {}  # bytes by pod and model
        self._not_said: set[tuple[str, str]] = set()  # since they were read
        self._lock = Lock()

    def add(self, side: Side, record: Record) -> None:
        with self._lock:
            self._records[side] += 1
            is_first = self.joiner.add(side, record)
            stream = self._stream(record.model)
            if is_first and stream is not None:
                stream.count(side, record)
            self._compare()

    def add_dropped(self, records: int) -> None:
        with self._lock:
            self.dropped += records

    def add_memory(self, pod: str, model: str, resident_bytes: int) -> None:
        """What the process of a model of the canary has in use now."""
        with self._lock:
            if (pod, model) in self._memory or len(self._memory) < MOST_PROCESSES:
                self._memory[pod, model] = resident_bytes
                self._not_said.discard((pod, model))

    def replicas(self) -> int:
        """Pods of the canary that have said something; at least 1."""
        with self._lock:
            return max(1, len({pod for pod, _ in self._memory}))

    def read_memory(self) -> float | None:
        """Bytes of all processes of the canary, once each has said it anew; None until then."""
        with self._lock:
            if not self._memory or self._not_said:
                return None
            self._not_said = set(self._memory)
            return float(sum(self._memory.values()))

    def begin_phase(self) -> None:
        """The canary's share of the calls changes now."""
        with self._lock:
            for stream in self._streams.values():
                stream.begin_phase()

    def look(self) -> list[Finding]:
        """Compare what has come; the first evidence of harm is kept as `stop`."""
        with self._lock:
            self.joiner.expire()
            self._compare()
            findings = [
                finding
                for model, stream in self._streams.items()
                for finding in (self._differing(model, stream), *_drifts(model, stream))
            ]
            stops = [finding for finding in findings if finding.state == "stop"]
            if stops and not self.stop:
                self.stop = f"{stops[0].subject}: {stops[0].check}: {stops[0].sentence}"
            return findings

    @property
    def waits(self) -> str:
        """What is missing for a promotion; empty where nothing is."""
        if self.joiner.joined >= self.wanted:
            return ""
        return f"{self.joiner.joined} of {self.wanted} calls are answered by both and joined"

    @property
    def doubt(self) -> str:
        """Why the joined calls may not speak for all; empty where they do."""
        share, only = self.joiner.joined_share, self.joiner.only
        if not self.wanted or share is None or share >= ENOUGH_JOINED:
            return ""
        return (
            f"{100 * share:.1f} % of the live calls are joined, wanted {100 * ENOUGH_JOINED:.0f} %: "
            f"{only['canary']} have an answer of the canary alone, {only['primary']} of the version in service alone; "
            f"{self.dropped} records were dropped by the pods"
        )

    def as_dict(self) -> dict[str, Any]:
        """All of it, for programs."""
        findings = self.look()
        with self._lock:
            share = self.joiner.joined_share
            return {
                "mode": "copies" if self.wanted else "share of the calls",
                "stop": self.stop or None,
                "joined": self.joiner.joined,
                "joined_wanted": self.wanted,
                "joined_percent": round(100 * share, 2) if self.wanted and share is not None else None,
                "only_canary": self.joiner.only["canary"],
                "only_primary": self.joiner.only["primary"],
                "repeated": self.joiner.repeated,
                "records_of_the_canary": self._records["canary"],
                "records_of_the_primary": self._records["primary"],
                "dropped_by_pods": self.dropped,
                "tolerated_differing_percent": 100 * self.differing,
                "findings": [finding.as_dict() for finding in findings],
            }

    def _compare(self) -> None:
        for pair in self.joiner.settled():
            stream = self._stream(pair.canary.model)
            # Without copies, a pair is a call that somebody sent again, or two calls that a caller gave one id.
            if stream is not None and self.wanted:
                stream.compare(pair)

    def _stream(self, model: str) -> _Stream | None:
        """None beyond MOST_MODELS. The shares of all pipelines, 1 / (n (n + 1)) of an error rate, have the sum 1."""
        if model not in self._streams and len(self._streams) < MOST_MODELS:
            number = len(self._streams) + 1
            wealth = Wealth(self.differing, 0.0)
            self._streams[model] = _Stream(self._far.get(model, FAR), 1 / (number * (number + 1)), wealth)
        return self._streams.get(model)

    def _differing(self, model: str, stream: _Stream) -> Finding:
        if not stream.compared:
            says = "no call was answered by both" if self.wanted else "no copies of calls: answers are not compared"
            return Finding("live answers", model, "note", says)
        is_sure = stream.wealth.highest >= -log(SHARES["live answers"] * stream.alpha)
        whys = ", ".join(f"{why}: {count}" for why, count in stream.whys.most_common(4) if why)
        number, total = stream.scores
        embeddings, distance, farthest = stream.distances
        percent = 100 * stream.differing / stream.compared
        says = (
            f"{percent:.1f} % of the answers to {stream.compared} live calls differ from those in service"
            + (f" ({whys})" if whys else "")
            + (f", surely more than {100 * self.differing:g} %" if is_sure else "")
        )
        facts = {
            "calls": stream.compared,
            "differing percent": percent,
            "reasons": {why: count for why, count in stream.whys.items() if why},
            "mean difference of scores": total / number if number else None,
            "mean cosine, estimated": 1 - distance / embeddings if embeddings else None,
            "least cosine, estimated": 1 - farthest if embeddings else None,
        }
        return Finding("live answers", model, "stop" if is_sure else "quiet", says, facts)


def kind_of(record: Record) -> str:
    """The kind of answer for its distribution: an error, the label of the first row, or where its embedding points."""
    if record.error or not record.rows:
        return record.error or "no rows"
    row = record.rows[0]
    if row.label is not None:
        return row.label
    if row.sketch is not None:
        return "embedding " + "".join("+" if value >= 0 else "-" for value in row.sketch[:3])
    return "" if row.score is not None else "nothing"


def _bin_of(record: Record) -> str:
    if not record.rows or record.rows[0].score is None:
        return ""
    return next(iter(bins_of([record.rows[0].score])))


def _drifts(model: str, stream: _Stream) -> list[Finding]:
    """Of labels and of scores, which share the pipeline's part."""
    alpha = SHARES["live drift"] * stream.alpha / 2
    found = []
    for what in ("labels", "scores"):
        phases = [getattr(phase, what) for phase in stream.phases]
        counts = [Counts(phase["canary"], phase["primary"]) for phase in phases]
        if not any(one.canary or one.primary for one in counts):
            continue
        seen: Drift = drift(counts, alpha)
        facts = {"distribution": what, "distance": seen.distance, "evidence": seen.evidence, "calls": seen.answers}
        found.append(Finding("live drift", model, seen.state, f"{what}: {seen.sentence}", facts))
    return found
