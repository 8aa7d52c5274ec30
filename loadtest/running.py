"""Locust's events before and during the load: checks options, prepares samples, joins the workers' counts."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import gevent
import locust.stats
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.runners import MasterRunner, WorkerRunner

from ai102.errors import UserError
from loadtest import judging, options
from loadtest.process import prepare
from loadtest.shaping import MAX_SPAWN_RATE, PlannedShape
from loadtest.summary import three_digits

log = logging.getLogger("loadtest")
COUNTS = "ai102_counts"  # the key in a worker's report


def listen() -> None:
    """Register the listeners; the locustfile calls it once."""
    events.init_command_line_parser.add_listener(_add_options)
    events.init.add_listener(_begin)
    events.test_start.add_listener(_before_load)
    events.test_stop.add_listener(_after_load)
    events.quitting.add_listener(judging.judge)
    locust.stats.bucket_response_time = three_digits  # type: ignore[assignment]


def _add_options(parser: LocustArgumentParser, **_: Any) -> None:
    options.add_to(parser)


def _begin(environment: Any, **_: Any) -> None:
    """Set defaults; a wrong option, or a server without an answer, exits with status 2."""
    parsed, runner = environment.parsed_options, environment.runner
    environment.ai102 = None  # the Process of the latest run
    environment.ai102_is_fresh = False  # prepared for the next run
    environment.ai102_refused = ""  # why the latest run did not start
    if isinstance(runner, WorkerRunner):  # it gets the options from its master when load starts
        events.report_to_master.add_listener(lambda data, **_: _report_counts(environment, data))
        return
    if isinstance(runner, MasterRunner):
        events.worker_report.add_listener(lambda data, **_: _add_counts(environment, data))
    starts_by_itself = parsed.headless or parsed.autostart
    is_address_given = bool(environment.host or parsed.grpc_url or parsed.http_url)
    if not is_address_given:
        environment.host = parsed.host = options.HOST
    if starts_by_itself:
        parsed.run_time = parsed.run_time or options.RUN_TIME_S
    parsed.num_users = parsed.num_users or 1
    # A stopping user first receives the answers that it waits for.
    environment.stop_timeout = environment.stop_timeout or parsed.timeout_s + 1
    try:
        plan = options.plan_from_options(parsed, environment.host)
        if parsed.summary:
            Path(parsed.summary).parent.mkdir(parents=True, exist_ok=True)
        if starts_by_itself or is_address_given:
            environment.ai102, environment.ai102_is_fresh = prepare(plan), True
    except (UserError, OSError) as err:
        print(f"loadtest: {err}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    if plan.shape != "none":
        parsed.spawn_rate = parsed.spawn_rate or min(MAX_SPAWN_RATE, float(parsed.num_users))  # Locust's default is 1
        environment.shape_class = PlannedShape(environment, plan.shape, plan.parameters)


def _before_load(environment: Any, **_: Any) -> None:
    """In each process, before it has users: options may have changed on the web page, the server may be down."""
    parsed, runner = environment.parsed_options, environment.runner
    environment.ai102_refused = ""
    if not isinstance(runner, WorkerRunner):
        parsed.full_users = parsed.num_users  # Locust sends workers only the options that are not its own
    try:
        plan = options.plan_from_options(parsed, environment.host)
        if not (environment.ai102_is_fresh and environment.ai102.plan == plan):
            environment.ai102 = prepare(plan)
    except UserError as err:
        environment.ai102, environment.ai102_refused = None, str(err)
        log.error("no load: %s", err)
        # In another greenlet: `quit` and `stop` end this one.
        gevent.spawn(runner.quit if isinstance(runner, WorkerRunner) else runner.stop)
        return
    environment.ai102_is_fresh = False
    environment.ai102.counts.clear()
    for model, count in environment.ai102.left_out.items():
        if count:
            log.info("%s: %d samples are left out: the idle server labels them wrongly", model, count)


def _after_load(environment: Any, **_: Any) -> None:
    """Wait for the workers' last reports: a master that quits waits only half a second."""
    runner = environment.runner
    if isinstance(runner, MasterRunner) and environment.parsed_options.headless:
        runner.send_message("quit")
        with gevent.Timeout(environment.stop_timeout + 5, False):
            while len(runner.clients):
                gevent.sleep(0.05)


def _report_counts(environment: Any, data: dict[str, Any]) -> None:
    if environment.ai102 is not None:
        data[COUNTS] = dict(environment.ai102.counts)
        environment.ai102.counts.clear()


def _add_counts(environment: Any, data: dict[str, Any]) -> None:
    if environment.ai102 is not None:
        environment.ai102.counts.update(data.get(COUNTS, {}))
