"""The candidate with the highest rate, found axis by axis, and kept only if it beats the present one again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Protocol

from ai102.errors import UserError
from ai102.tune.candidate import AXES, Candidate, Choices, along
from ai102.tune.rate import TOLERANCE, GoalNotReachedError, Window, highest_rate, looked_at

# How much better than the best so far a candidate must be to be looked at further.
MARGIN = 1 + TOLERANCE
ROUNDS = 3


class ConfigRefusedError(UserError):
    """The server did not load a model with the config of a candidate; it still serves the one before."""


class Bench(Protocol):
    """Something that serves a candidate and is asked at a rate. Both calls raise ConfigRefusedError."""

    def window(self, candidate: Candidate, rate: float) -> Window: ...

    def saturation(self, candidate: Candidate) -> float:
        """Requests per second when the next one is always there: above any rate that keeps to a goal for long."""


@dataclass(frozen=True)
class Trial:
    """One candidate and its outcome."""

    candidate: Candidate
    window: Window | None  # at the highest rate that held; where `is_beaten`, at the rate it had to hold and did not
    is_beaten: bool = False
    is_client_bound: bool = False  # the server may carry more than this
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """Every trial in order, the first of them the present config, and the one to keep."""

    trials: tuple[Trial, ...]
    chosen: Trial
    present: Trial
    verdict: str

    @property
    def is_changed(self) -> bool:
        return self.chosen.candidate != self.present.candidate


@dataclass
class Search:
    """One search: how it is done and what it has seen so far."""

    bench: Bench
    goal_ms: float
    choices: Choices
    is_allowed: Callable[[Candidate], bool]
    seconds_left: Callable[[], float]
    confirm_s: float  # what is kept of the time for the last comparison
    tell: Callable[[Trial], None] = lambda trial: None
    trials: list[Trial] = field(default_factory=list)

    def run(self, present: Candidate) -> Outcome:
        """Raises GoalNotReachedError when no candidate tried keeps to the goal."""
        first = self._present(present)
        best = first
        for axis in AXES * 2:  # the second time around for what a later axis changed
            for candidate in along(axis, best.candidate, self.choices):
                # Past what the client can send, candidates cannot be compared.
                if best.is_client_bound or not self._has_time():
                    break
                if not self.is_allowed(candidate) or candidate in [trial.candidate for trial in self.trials]:
                    continue
                trial = self._challenger(candidate, best.window)
                if not trial.is_beaten:
                    best = trial
        if best.window is None:
            raise GoalNotReachedError(first.note)
        return self._confirmed(best, first)

    def _present(self, candidate: Candidate) -> Trial:
        start = self.bench.saturation(candidate)
        measure = self._measure(candidate)
        try:
            highest = highest_rate(measure, self.goal_ms, 0.7 * start, _lowest(start), self._has_time)
        except GoalNotReachedError as err:
            return self._keep(Trial(candidate, None, is_beaten=True, note=str(err)))
        return self._keep(Trial(candidate, highest.window, is_client_bound=highest.is_client_bound))

    def _challenger(self, candidate: Candidate, best: Window | None) -> Trial:
        """Looked at where it would have to be better; only one that is gets a search of its own."""
        measure = self._measure(candidate)
        try:
            if best is None:
                start = self.bench.saturation(candidate)
                highest = highest_rate(measure, self.goal_ms, start / 2, _lowest(start), self._has_time)
            else:
                bar = best.rate * MARGIN
                window = looked_at(measure, bar, self.goal_ms)
                if not window.holds(self.goal_ms):
                    return self._keep(Trial(candidate, window, is_beaten=True))
                highest = highest_rate(measure, self.goal_ms, bar, bar, self._has_time, known=window)
            return self._keep(Trial(candidate, highest.window, is_client_bound=highest.is_client_bound))
        except (GoalNotReachedError, ConfigRefusedError) as err:
            return self._keep(Trial(candidate, None, is_beaten=True, note=str(err)))

    def _confirmed(self, best: Trial, present: Trial) -> Outcome:
        if best is present:
            why = (
                "the client can send no more, so nothing could be seen to be better"
                if present.is_client_bound
                else ("nothing tried was better")
            )
            return self._outcome(present, present, f"the present config is kept: {why}")
        if present.window is None:
            return self._outcome(best, present, "the present config misses the goal at any rate")
        assert best.window is not None
        for rate in (best.window.rate, best.window.rate / MARGIN):
            if rate < present.window.rate * MARGIN:
                break
            rounds: Sequence[tuple[Window, Window]] = [
                (self.bench.window(best.candidate, rate), self.bench.window(present.candidate, rate))
                for _ in range(ROUNDS)
            ]
            ours, theirs = ([pair[place] for pair in rounds] for place in (0, 1))
            if _mostly(theirs, self.goal_ms):
                present = replace(present, window=_middle(theirs))
                break
            if _mostly(ours, self.goal_ms):
                chosen = replace(best, window=_middle(ours))
                return self._outcome(
                    chosen, present, f"confirmed in {ROUNDS} rounds by turns: at {rate:.4g}/s the present config misses"
                )
        return self._outcome(
            present, present, "the present config is kept: the best of the others was not clearly better when repeated"
        )

    def _outcome(self, chosen: Trial, present: Trial, verdict: str) -> Outcome:
        return Outcome(tuple(self.trials), chosen, present, verdict)

    def _measure(self, candidate: Candidate) -> Callable[[float], Window]:
        return lambda rate: self.bench.window(candidate, rate)

    def _has_time(self) -> bool:
        return self.seconds_left() >= self.confirm_s

    def _keep(self, trial: Trial) -> Trial:
        self.trials.append(trial)
        self.tell(trial)
        return trial


def _lowest(saturation: float) -> float:
    """A rate at which requests hardly ever meet."""
    return max(0.5, saturation / 50)


def _mostly(windows: Sequence[Window], goal_ms: float) -> bool:
    return sum(window.holds(goal_ms) for window in windows) > len(windows) / 2


def _middle(windows: Sequence[Window]) -> Window:
    middle = median(window.p99_ms for window in windows)
    return next(window for window in windows if window.p99_ms == middle)
