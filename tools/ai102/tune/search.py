"""Searches axis by axis for the candidate with the highest rate, and confirms it against the present config."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Protocol

from ai102.errors import UserError
from ai102.tune.candidate import AXES, Candidate, Choices, along
from ai102.tune.rate import TOLERANCE, GoalNotReachedError, Window, highest_rate, looked_at

# The factor by which a candidate must exceed the best rate so far to be measured further.
MARGIN = 1 + TOLERANCE
ROUNDS = 3


class ConfigRefusedError(UserError):
    """The server did not load a model with the config of a candidate; it still serves the previous one."""


class Bench(Protocol):
    """Serves a candidate and measures it under load. Both methods raise ConfigRefusedError."""

    def window(self, candidate: Candidate, rate: float) -> Window: ...

    def saturation(self, candidate: Candidate) -> float:
        """Requests per second under full load: an upper bound of the rates that meet a goal."""


@dataclass(frozen=True)
class Trial:
    """One candidate and its outcome."""

    candidate: Candidate
    window: Window | None  # at the highest rate that met the goal; if `is_beaten`, at the rate that missed it
    is_beaten: bool = False
    is_client_bound: bool = False  # the server's rate may be higher
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """Every trial in order, the present config first, and the one to keep."""

    trials: tuple[Trial, ...]
    chosen: Trial
    present: Trial
    verdict: str

    @property
    def is_changed(self) -> bool:
        return self.chosen.candidate != self.present.candidate


@dataclass
class Search:
    """One search: its parameters and its trials so far."""

    bench: Bench
    goal_ms: float
    choices: Choices
    is_allowed: Callable[[Candidate], bool]
    seconds_left: Callable[[], float]
    confirm_s: float  # the time that is reserved for the final comparison
    report: Callable[[Trial], None] = lambda trial: None
    trials: list[Trial] = field(default_factory=list)

    def run(self, present: Candidate) -> Outcome:
        """Raises GoalNotReachedError when no tried candidate meets the goal."""
        first = self._present(present)
        best = first
        for axis in AXES * 2:  # a second time, since later axes change the best values of earlier ones
            for candidate in along(axis, best.candidate, self.choices):
                # If the client is the bottleneck, candidates cannot be compared.
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
        """Measure the candidate at a rate that beats the best; search its highest rate only if that holds."""
        measure = self._measure(candidate)
        try:
            if best is None:
                start = self.bench.saturation(candidate)
                highest = highest_rate(measure, self.goal_ms, start / 2, _lowest(start), self._has_time)
            else:
                rate = best.rate * MARGIN
                window = looked_at(measure, rate, self.goal_ms)
                if not window.holds(self.goal_ms):
                    return self._keep(Trial(candidate, window, is_beaten=True))
                highest = highest_rate(measure, self.goal_ms, rate, rate, self._has_time, known=window)
            return self._keep(Trial(candidate, highest.window, is_client_bound=highest.is_client_bound))
        except (GoalNotReachedError, ConfigRefusedError) as err:
            return self._keep(Trial(candidate, None, is_beaten=True, note=str(err)))

    def _confirmed(self, best: Trial, present: Trial) -> Outcome:
        if best is present:
            why = (
                "the client is the bottleneck, so no other config can be shown to be better"
                if present.is_client_bound
                else "no other config was better"
            )
            return self._outcome(present, present, f"the present config is kept: {why}")
        if present.window is None:
            return self._outcome(best, present, "the present config misses the goal at every rate")
        assert best.window is not None
        for rate in (best.window.rate, best.window.rate / MARGIN):
            if rate < present.window.rate * MARGIN:
                break
            rounds: Sequence[tuple[Window, Window]] = [
                (self.bench.window(best.candidate, rate), self.bench.window(present.candidate, rate))
                for _ in range(ROUNDS)
            ]
            best_windows, present_windows = ([pair[place] for pair in rounds] for place in (0, 1))
            if _mostly(present_windows, self.goal_ms):
                present = replace(present, window=_middle(present_windows))
                break
            if _mostly(best_windows, self.goal_ms):
                chosen = replace(best, window=_middle(best_windows))
                return self._outcome(
                    chosen,
                    present,
                    f"confirmed in {ROUNDS} alternating rounds: at {rate:.4g}/s the present config misses the goal",
                )
        return self._outcome(
            present,
            present,
            "the present config is kept: the best other config was not clearly better in repeated measurements",
        )

    def _outcome(self, chosen: Trial, present: Trial, verdict: str) -> Outcome:
        return Outcome(tuple(self.trials), chosen, present, verdict)

    def _measure(self, candidate: Candidate) -> Callable[[float], Window]:
        return lambda rate: self.bench.window(candidate, rate)

    def _has_time(self) -> bool:
        return self.seconds_left() >= self.confirm_s

    def _keep(self, trial: Trial) -> Trial:
        self.trials.append(trial)
        self.report(trial)
        return trial


def _lowest(saturation: float) -> float:
    """A rate at which requests rarely overlap."""
    return max(0.5, saturation / 50)


def _mostly(windows: Sequence[Window], goal_ms: float) -> bool:
    return sum(window.holds(goal_ms) for window in windows) > len(windows) / 2


def _middle(windows: Sequence[Window]) -> Window:
    middle = median(window.p99_ms for window in windows)
    return next(window for window in windows if window.p99_ms == middle)
