"""The candidates as a table."""

from __future__ import annotations

from rich.table import Table

from ai102.tune.run import Tuned
from ai102.tune.search import Trial


def table_of(tuned: Tuned) -> Table:
    """One row per candidate, the best first; a beaten candidate is shown with the rate that it did not reach."""
    outcome = tuned.outcome
    table = Table(
        *("batch", "delay us", "preferred", "instances", "threads", "req/s", "p50 ms", "p99 ms", ""),
        title=f"{tuned.subject.requested}: most requests per second with p99 under {tuned.goal_ms:g} ms",
        title_justify="left",
        box=None,
        padding=(0, 0, 0, 2),
    )
    for column in table.columns:
        column.justify, column.no_wrap = "right", True
    table.columns[-1].justify, table.columns[-1].no_wrap = "left", False
    final = {trial.candidate: trial for trial in (outcome.present, outcome.chosen)}
    trials = [final.get(trial.candidate, trial) for trial in outcome.trials]
    for trial in sorted(trials, key=lambda trial: (trial.is_beaten, -(trial.window.rate if trial.window else 0))):
        table.add_row(*_cells(trial), _remark(trial, tuned), style="bold" if trial is outcome.chosen else "")
    return table


def _cells(trial: Trial) -> list[str]:
    candidate, window = trial.candidate, trial.window
    figures = ["-", "-", "-"]
    if window:
        sign = "<" if trial.is_beaten else ">" if trial.is_client_bound else ""
        figures = [f"{sign}{window.rate:.4g}", f"{window.p50_ms:.3g}", f"{window.p99_ms:.3g}"]
    return [
        str(candidate.max_batch_size),
        str(candidate.max_queue_delay_us),
        ", ".join(map(str, candidate.preferred_batch_sizes)) or "-",
        str(candidate.instances),
        str(candidate.threads),
        *figures,
    ]


def _remark(trial: Trial, tuned: Tuned) -> str:
    if trial.candidate == tuned.outcome.present.candidate:
        return "kept" if not tuned.outcome.is_changed else "present"
    if trial.candidate == tuned.outcome.chosen.candidate:
        return "best"
    return "" if trial.window else "over the goal at every rate, or not loaded: see above"
