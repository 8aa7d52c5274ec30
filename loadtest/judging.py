"""The end of a run: compares results with goals, sets the exit status, writes the summary."""

from __future__ import annotations

import logging
import shlex
import sys
from pathlib import Path
from typing import Any

from locust.runners import STATE_RUNNING, STATE_SPAWNING, MasterRunner, WorkerRunner

from ai102 import artifact
from loadtest.options import effective_options
from loadtest.process import CHECKED, LATE, NOT_SENT, WRONG, Process, server_version
from loadtest.slo import Gate, gates
from loadtest.summary import rows_from_stats, seconds_of, summary, text_of

log = logging.getLogger("loadtest")


def judge(environment: Any, **_: Any) -> None:
    """Sets the exit status: 0 if every goal is met, 1 if one is missed, 2 without load.

    Workers do not check goals. A web interface that was closed before a run missed none.
    """
    runner, parsed, run = environment.runner, environment.parsed_options, environment.ai102
    environment.process_exit_code = 2 if environment.ai102_refused else 0
    if isinstance(runner, WorkerRunner):
        return
    if runner.state in (STATE_SPAWNING, STATE_RUNNING):  # Ctrl-C: answers in flight count
        runner.stop()
    has_run = runner.state not in ("ready",)
    if run is None or not has_run:
        _write(parsed.summary, environment, run, [], environment.ai102_refused or "no run was started")
        return
    checked = _gates(environment, run)
    for gate in checked:
        log.log(logging.INFO if gate.passed else logging.ERROR, "%s", gate)
    if not all(gate.passed for gate in checked):
        environment.process_exit_code = 1
    _write(parsed.summary, environment, run, checked, "")
    if parsed.summary:
        log.info("written: %s", parsed.summary)


def _gates(environment: Any, run: Process) -> list[Gate]:
    checked = gates(rows_from_stats(environment.stats), list(run.samples), run.goals)
    defects = environment.runner.exceptions.values()
    if defects:
        first = next(iter(defects))["msg"]
        measured = f"{sum(defect['count'] for defect in defects)}, the first: {first}"
        checked.append(Gate("defects of the load test", "none", measured, False))
    return checked


def _counts(run: Process) -> dict[str, int | str]:
    no_arrivals = "not measured: a closed loop has no arrivals"
    unchecked = "not measured: no answer was checked, see --check-share"
    return {
        CHECKED: run.counts[CHECKED],
        WRONG: run.counts[WRONG] if run.counts[CHECKED] else unchecked,
        NOT_SENT: run.counts[NOT_SENT] if run.plan.is_open else no_arrivals,
        LATE: run.counts[LATE] if run.plan.is_open else no_arrivals,
    }


def _write(file: str, environment: Any, run: Process | None, checked: list[Gate], reason: str) -> None:
    if not file:
        return
    errors = [
        {"protocol": error.method, "model": error.name, "error": error.to_name(), "occurrences": error.occurrences}
        for error in environment.stats.errors.values()
    ]
    workers = environment.runner.worker_index_max if isinstance(environment.runner, MasterRunner) else 0
    load = (effective_options(run.plan) if run else {}) | {
        "command": shlex.join(sys.argv),
        "run_time_s": environment.parsed_options.run_time,
        "workers": workers,
        "samples_left_out": run.left_out if run else {},
    }
    text = text_of(
        summary(
            rows=rows_from_stats(environment.stats),
            gates=checked,
            expected=list(run.samples) if run else [],
            counts=_counts(run) if run else {},
            errors=errors,
            load=load,
            servers={url: server_version(url) for url in (run.plan.urls.values() if run else ())},
            seconds=seconds_of(environment.stats),
            reason=reason,
        )
    )
    artifact.write_text(Path(file), text)
