"""Our jobs against those of peers: how many a second are accepted and done, and what kills lose.

Writes build/jobs-bench/peers.json after each contestant, and peers.md at the end.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from typing import Any

from ai102.errors import UserError
from ai102.host.cpu import cpu_name
from ai102.progress import Reporter
from loadtest.bench.peers import python_of_peers, versions_of
from loadtest.jobs import kills, rates
from loadtest.jobs.contestants import PEERS, REQUIREMENTS, VENV
from loadtest.jobs.stack import Engine
from loadtest.jobs.works import folder_of_results

Figures = dict[str, Any]

OURS: Mapping[Engine, tuple[str, str]] = {
    "embedded": ("ours, SQLite", "committed to SQLite: it outlives the process; power loss may take the last commits"),
    "dapr": ("ours, PostgreSQL and Dapr", "committed to PostgreSQL, which here ran without fsync"),
}
YARDSTICK = "xadd"
RATED = (YARDSTICK, *OURS, *(key for key in PEERS if key not in (YARDSTICK, "celery-plain")), YARDSTICK)
# Those first that wait longest for what was lost. Nothing here is timed, so some are killed at once.
KILLED = ("celery", "celery-chunk", "celery-plain", "arq-chunk", "ray", "bentoml", *OURS)
AT_ONCE = 3
NAMES = (*OURS, *PEERS)


def run(only: Sequence[str], seconds: float, kill_jobs: int, report: Reporter) -> None:
    """`only` are contestants; without any, all."""
    for name in only:
        if name not in NAMES:
            raise UserError(f"--only: there is no {name!r}; there are {', '.join(NAMES)}")
    python = python_of_peers(report, REQUIREMENTS, VENV)
    results: Figures = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": _versions(python),
        "seconds": seconds,
        "rates": {},
        "kills": {},
    }
    for name in (key for key in RATED if not only or key in only):
        measured = _figures(_rates(name, seconds))
        before = results["rates"].get(name)
        results["rates"][name] = {"first": before, **_mean(before, measured)} if before else measured
        report.say(f"{name}: {json.dumps(measured)}")
        _write(results)
    if kill_jobs:
        with ProcessPoolExecutor(AT_ONCE, get_context("spawn")) as pool:
            futures = {key: pool.submit(_killed, key, kill_jobs) for key in KILLED if not only or key in only}
            for name, future in futures.items():
                results["kills"][name] = future.result()
                report.say(f"{name}, killed: {json.dumps(results['kills'][name])}")
                _write(results)
    text = "\n".join([*_rate_table(results["rates"]), "", *_kill_table(results["kills"]), ""])
    (folder_of_results() / "peers.md").write_text(text, encoding="utf-8")
    report.say(text)


def _rates(name: str, seconds: float) -> Callable[[], Figures]:
    ours = next((engine for engine in OURS if engine == name), None)
    return partial(rates.of_ours, ours, seconds) if ours else partial(rates.of_peer, name, seconds)


def _killed(name: str, jobs: int) -> Figures:
    ours = next((engine for engine in OURS if engine == name), None)
    return _figures(partial(kills.of_ours, ours, jobs) if ours else partial(kills.of_peer, name, jobs))


def _figures(measure: Callable[[], Figures]) -> Figures:
    """A contestant that fails does not end the run."""
    try:
        return measure()
    except (Exception, SystemExit) as err:  # noqa: BLE001  # the reason is the result
        return {"not_measured": f"{type(err).__name__}: {str(err)[:300]}"}


def _mean(first: Figures, second: Figures) -> Figures:
    return {
        key: round((first[key] + value) / 2, 2)
        for key, value in second.items()
        if isinstance(first.get(key), int | float)
    }


def _versions(python: Any) -> Figures:
    names = sorted({name for peer in PEERS.values() for name in peer.distributions} | {"onnxruntime", "kombu"})
    server = subprocess.run(
        ["redis-server", "--version"], capture_output=True, text=True, timeout=20, check=True
    ).stdout
    return {**versions_of(python, names), "redis-server": server.split("v=")[1].split()[0]}


def _write(results: Figures) -> None:
    file = folder_of_results() / "peers.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _rate_table(measured: Mapping[str, Figures]) -> list[str]:
    lines = [
        "| | accepted a second, calls of 100 | calls of one | done a second | an accepted job is |",
        "|---|---|---|---|---|",
    ]
    for key, figures in measured.items():
        call = figures.get("call", 100)
        many = _number(figures, rates.ACCEPTED_MANY) + ("" if call == 100 else f" (calls of {call})")
        cells = [many, _number(figures, rates.ACCEPTED_ONE), _number(figures, rates.DONE), _durable(key)]
        lines.append(f"| {_name(key)} | {' | '.join(cells)} |")
    yardstick = measured.get(YARDSTICK, {}).get(rates.ACCEPTED_ONE)
    for key in OURS:
        if yardstick and rates.ACCEPTED_ONE in measured.get(key, {}):
            lines += ["", f"{_name(key)} / {_name(YARDSTICK)}: {measured[key][rates.ACCEPTED_ONE] / yardstick:.2f}"]
    return lines


def _kill_table(measured: Mapping[str, Figures]) -> list[str]:
    lines = [
        "| | accepted | kills | no result | after a new worker | computed again | last result after |",
        "|---|---|---|---|---|---|---|",
    ]
    for key, figures in measured.items():
        if "not_measured" in figures:
            lines.append(f"| {_name(key)} | not measured: {figures['not_measured']} | | | | | |")
            continue
        killed = ", ".join(f"{part} {count}" for part, count in figures["kills"].items())
        after = figures.get("without_result_after_worker_restart", "")
        lines.append(
            f"| {_name(key)} | {figures['accepted']:,} | {killed} | {figures['without_result']:,} | {after} "
            f"| {figures['computed_again']:,} | {figures['last_result_after_s']} s |"
        )
    return lines


def _number(figures: Figures, key: str) -> str:
    if "not_measured" in figures:
        return f"not measured: {figures['not_measured']}"
    return f"{round(figures[key]):,}" if key in figures else ""


def _name(key: str) -> str:
    return PEERS[key].name if key in PEERS else OURS[key][0]  # type: ignore[index]


def _durable(key: str) -> str:
    return PEERS[key].durable if key in PEERS else OURS[key][1]  # type: ignore[index]
