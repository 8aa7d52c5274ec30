"""What happens when all is over: the goals judged, the exit status set, the summary written."""

from __future__ import annotations

import logging
import shlex
import sys
from pathlib import Path
from typing import Any

from locust.runners import STATE_RUNNING, STATE_SPAWNING, MasterRunner, WorkerRunner

from ai102 import artifact
from loadtest.options import as_told
from loadtest.process import CHECKED, LATE, NOT_SENT, WRONG, Process, server_version
from loadtest.slo import Gate, gates
from loadtest.summary import rows_from_stats, seconds_of, summary, text_of

log = logging.getLogger("loadtest")


def judge(environment: Any, **_: Any) -> None:
    """Sets the exit status: 0 where every goal is met, 1 where one is missed, 2 where there was no load.

    A worker's says nothing about goals, and a web page that was closed before anything ran missed none.
    """
    runner, said, run = environment.runner, environment.parsed_options, environment.ai102
    environment.process_exit_code = 2 if environment.ai102_refused else 0
    if isinstance(runner, WorkerRunner):
        return
    if runner.state in (STATE_SPAWNING, STATE_RUNNING):  # Ctrl-C: answers under way count
        runner.stop()
    has_run = runner.state not in ("ready",)
    if run is None or not has_run:
        _write(said.summary, environment, run, [], environment.ai102_refused or "no run was started")
        return
    found = _gates(environment, run)
    for gate in found:
        log.log(logging.INFO if gate.passed else logging.ERROR, "%s", gate)
    if not all(gate.passed for gate in found):
        environment.process_exit_code = 1
    _write(said.summary, environment, run, found, "")
    if said.summary:
        log.info("written: %s", said.summary)


def _gates(environment: Any, run: Process) -> list[Gate]:
    found = gates(rows_from_stats(environment.stats), list(run.samples), run.goals)
    defects = environment.runner.exceptions.values()
    if defects:
        first = next(iter(defects))["msg"]
        came = f"{sum(defect['count'] for defect in defects)}, the first: {first}"
        found.append(Gate("defects of the load test", "none", came, False))
    return found


def _counts(run: Process) -> dict[str, int | str]:
    no_arrivals = "not measured: a closed loop has no arrivals of its own"
    unchecked = "not measured: no answer was checked, see --check-share"
    return {
        CHECKED: run.counts[CHECKED],
        WRONG: run.counts[WRONG] if run.counts[CHECKED] else unchecked,
        NOT_SENT: run.counts[NOT_SENT] if run.plan.is_open else no_arrivals,
        LATE: run.counts[LATE] if run.plan.is_open else no_arrivals,
    }


def _write(file: str, environment: Any, run: Process | None, found: list[Gate], reason: str) -> None:
    if not file:
        return
    errors = [
        {"protocol": error.method, "model": error.name, "error": error.to_name(), "occurrences": error.occurrences}
        for error in environment.stats.errors.values()
    ]
    workers = environment.runner.worker_index_max if isinstance(environment.runner, MasterRunner) else 0
    load = (as_told(run.plan) if run else {}) | {
        "command": shlex.join(sys.argv),
        "run_time_s": environment.parsed_options.run_time,
        "workers": workers,
        "samples_left_out": run.left_out if run else {},
    }
    text = text_of(
        summary(
            rows=rows_from_stats(environment.stats),
            gates=found,
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
