"""What happens before the load and while it runs: options checked, the server asked, counts of workers joined."""

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
COUNTS = "ai102_counts"  # in what a worker reports


def listen() -> None:
    """Called once, by the locustfile."""
    events.init_command_line_parser.add_listener(_add_options)
    events.init.add_listener(_begin)
    events.test_start.add_listener(_before_load)
    events.test_stop.add_listener(_after_load)
    events.quitting.add_listener(judging.judge)
    locust.stats.bucket_response_time = three_digits  # type: ignore[assignment]


def _add_options(parser: LocustArgumentParser, **_: Any) -> None:
    options.add_to(parser)


def _begin(environment: Any, **_: Any) -> None:
    """Fill in what was not said; a mistake, or a server that does not answer, ends it here with status 2."""
    said, runner = environment.parsed_options, environment.runner
    environment.ai102 = None  # the Process of the latest run
    environment.ai102_is_fresh = False  # made just now, for the run to come
    environment.ai102_refused = ""  # why the latest run did not begin
    if isinstance(runner, WorkerRunner):  # its master tells it the options when load begins
        events.report_to_master.add_listener(lambda data, **_: _hand_counts_over(environment, data))
        return
    if isinstance(runner, MasterRunner):
        events.worker_report.add_listener(lambda data, **_: _add_counts(environment, data))
    starts_by_itself = said.headless or said.autostart
    is_address_given = bool(environment.host or said.grpc_url or said.http_url)
    if not is_address_given:
        environment.host = said.host = options.HOST
    if starts_by_itself:
        said.run_time = said.run_time or options.RUN_TIME_S
    said.num_users = said.num_users or 1
    # A user that is told to stop first gets the answers it waits for.
    environment.stop_timeout = environment.stop_timeout or said.timeout_s + 1
    try:
        plan = options.plan_from_options(said, environment.host)
        if said.summary:
            Path(said.summary).parent.mkdir(parents=True, exist_ok=True)
        if starts_by_itself or is_address_given:
            environment.ai102, environment.ai102_is_fresh = prepare(plan), True
    except (UserError, OSError) as err:
        print(f"loadtest: {err}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    if plan.shape != "none":
        said.spawn_rate = said.spawn_rate or min(MAX_SPAWN_RATE, float(said.num_users))  # Locust's own is 1
        environment.shape_class = PlannedShape(environment, plan.shape, plan.parameters)


def _before_load(environment: Any, **_: Any) -> None:
    """In each process, before it has users. The web page may have changed options, and the server may be gone."""
    said, runner = environment.parsed_options, environment.runner
    environment.ai102_refused = ""
    if not isinstance(runner, WorkerRunner):
        said.full_users = said.num_users  # Locust tells workers only the options that it does not know
    try:
        plan = options.plan_from_options(said, environment.host)
        if not (environment.ai102_is_fresh and environment.ai102.plan == plan):
            environment.ai102 = prepare(plan)
    except UserError as err:
        environment.ai102, environment.ai102_refused = None, str(err)
        log.error("no load: %s", err)
        # Not from here: this is the greenlet that would be ended.
        gevent.spawn(runner.quit if isinstance(runner, WorkerRunner) else runner.stop)
        return
    environment.ai102_is_fresh = False
    environment.ai102.counts.clear()
    for model, count in environment.ai102.left_out.items():
        if count:
            log.info("%s: %d samples are not sent: the idle server gives them another label", model, count)


def _after_load(environment: Any, **_: Any) -> None:
    """Wait for the workers' last words: a master that quits gives them half a second."""
    runner = environment.runner
    if isinstance(runner, MasterRunner) and environment.parsed_options.headless:
        runner.send_message("quit")
        with gevent.Timeout(environment.stop_timeout + 5, False):
            while len(runner.clients):
                gevent.sleep(0.05)


def _hand_counts_over(environment: Any, data: dict[str, Any]) -> None:
    if environment.ai102 is not None:
        data[COUNTS] = dict(environment.ai102.counts)
        environment.ai102.counts.clear()


def _add_counts(environment: Any, data: dict[str, Any]) -> None:
    if environment.ai102 is not None:
        environment.ai102.counts.update(data.get(COUNTS, {}))
