"""Pairs of records by request id and model: a call that both releases answered."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ai102.judging.live.record import Record, Side

# So long an answer waits for that of the other side; calls take less, and pods send their records each second.
KEPT_S = 60.0
MOST_KEPT = 50_000  # 33 MB of labels, 56 MB of sketches, up to 250 MB of those of batches
# Records of one call arrive within so many seconds, whatever pods they come from.
SETTLED_S = 5.0


class Pair(NamedTuple):
    """What both answered to one call."""

    canary: Record
    primary: Record


@dataclass
class _Kept:
    arrived: float
    side: Side
    record: Record | None  # None: joined
    is_repeated: bool = False


class Joiner:
    """Joins records as they come; `clock` gives seconds.

    Of one side the first record of an id counts, since a sidecar may send a call again. A caller may also use one id
    for several calls: a pair whose id comes again before it has settled may be of two calls, and is not given out.
    `only` counts calls of one side that the other ought to have had: those that arrived while the other side had
    records, and all of a canary beside which nothing is recorded.
    """

    def __init__(
        self, clock: Callable[[], float], kept_s: float = KEPT_S, settled_s: float = SETTLED_S, most: int = MOST_KEPT
    ) -> None:
        self.joined = self.repeated = 0
        self.only: dict[Side, int] = {"canary": 0, "primary": 0}
        self._clock, self._kept_s, self._settled_s, self._most = clock, kept_s, settled_s, most
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._settling: deque[tuple[float, _Kept, Pair]] = deque()
        self._first: dict[Side, float] = {}
        self._last: dict[Side, float] = {}

    @property
    def kept(self) -> int:
        """Ids that are remembered."""
        return len(self._kept)

    @property
    def joined_share(self) -> float | None:
        """Of the calls that both ought to have had; None before there is one."""
        calls = self.joined + sum(self.only.values())
        return self.joined / calls if calls else None

    def add(self, side: Side, record: Record) -> bool:
        """Whether it is the first record of that side with that id."""
        now = self._clock()
        self.expire()
        self._first.setdefault(side, now)
        self._last[side] = now
        key = record.request_id, record.model
        kept = self._kept.get(key)
        if kept is None:
            self._kept[key] = _Kept(now, side, record)
            if len(self._kept) > self._most:
                self._forget()
            return True
        if kept.record is None or kept.side == side:
            self.repeated += 1
            kept.is_repeated, kept.arrived = True, now
            self._kept.move_to_end(key)
            return False
        self.joined += 1
        pair = Pair(record, kept.record) if side == "canary" else Pair(kept.record, record)
        kept.record = None
        self._settling.append((now, kept, pair))
        return True

    def settled(self) -> Iterator[Pair]:
        """Pairs that have settled since the last time."""
        until = self._clock() - self._settled_s
        while self._settling and self._settling[0][0] <= until:
            _, kept, pair = self._settling.popleft()
            if not kept.is_repeated:
                yield pair

    def expire(self) -> None:
        """Count and forget what has waited for too long."""
        oldest = self._clock() - self._kept_s
        while self._kept and next(iter(self._kept.values())).arrived < oldest:
            self._forget()

    def _forget(self) -> None:
        _, kept = self._kept.popitem(last=False)
        if kept.record is None:
            return
        other: Side = "primary" if kept.side == "canary" else "canary"
        if other in self._first:
            begin, end = self._first[other] + self._settled_s, self._last[other] - self._settled_s
            self.only[kept.side] += begin <= kept.arrived <= end
        elif kept.side == "canary":
            self.only["canary"] += 1
