"""The Locust user: sends requests to Triton in a closed or an open loop and checks some of the answers."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from random import Random

from gevent import Greenlet
from gevent.pool import Group
from locust import User, task
from locust.exception import StopUser

from ai102.client import Client, DeadlineError, InferenceError, NoServerError
from loadtest import arrivals, process
from loadtest.payloads import size_of
from loadtest.process import Process

clock = time.monotonic
# The pause of a closed-loop user when no server answers, instead of thousands of attempts per second.
WITHOUT_SERVER_S = 0.5


class WrongAnswerError(Exception):
    """An answer under load that differs from the idle server's."""


class NotSentError(Exception):
    """An arrival while --max-in-flight requests were in flight."""


class TritonUser(User):
    """Has its own connections; draws a protocol, a model and a sample for each request.

    In an open loop it does not wait for answers. A response time counts from the scheduled time of its request, so
    it includes delays in this process and in a full connection.
    """

    def on_start(self) -> None:
        run: Process | None = getattr(self.environment, "ai102", None)
        if run is None:  # the server did not answer: the reason was logged
            raise StopUser
        self.run_of = run
        self.place = run.take_place()
        plan = run.plan
        self.clients = {protocol: process.connect(url, plan.timeout_s) for protocol, url in plan.urls.items()}
        self.under_way = Group()
        self.is_without_server = False
        self.due: float | None = None
        self.times = self._times() if plan.is_open else None

    def on_stop(self) -> None:
        if not hasattr(self, "run_of"):
            return
        self.under_way.join(timeout=self.run_of.plan.timeout_s + 1)  # requests in flight are counted
        for client in self.clients.values():
            client.close()
        self.run_of.leave_place(self.place)

    def wait_time(self) -> float:
        """The time until the next request."""
        if self.times is None:
            return max(self.run_of.plan.think_s, WITHOUT_SERVER_S if self.is_without_server else 0.0)
        self.due = next(self.times)
        return max(0.0, self.due - clock())

    @task
    def request(self) -> None:
        if self.times is None:
            self._send(clock())
        elif self.due is not None:  # the first wait follows the first task
            self._send_in_background(self.due)

    def _times(self) -> Iterator[float]:
        plan = self.run_of.plan
        rate = plan.rate / plan.users
        if plan.arrivals == "poisson":
            return arrivals.poisson(rate, clock(), Random())
        # The numbers of the workers' users interleave, so that their arrivals alternate.
        workers = max(1, self.environment.parsed_options.expect_workers)
        number = self.place * workers + max(0, getattr(self.environment.runner, "worker_index", 0))
        return arrivals.constant(rate, clock(), number % plan.users / plan.users)

    def _send_in_background(self, due: float) -> None:
        run = self.run_of
        if run.under_way >= run.plan.max_in_flight:
            protocol, model = self._draw()
            run.counts[process.NOT_SENT] += 1
            self._report(protocol, model, None, 0, NotSentError(f"not sent: {run.under_way} requests were in flight"))
            return
        run.under_way += 1
        run.counts[process.LATE] += clock() - due > process.LATE_S
        greenlet = Greenlet(self._send, due)
        greenlet.rawlink(self._has_ended)
        greenlet.link_exception(self._report_defect)
        self.under_way.start(greenlet)

    def _send(self, due: float) -> None:
        run = self.run_of
        protocol, model = self._draw()
        sample = random.choice(run.samples[protocol, model])
        client: Client = self.clients[protocol]
        failure: Exception | None = None
        length = 0
        try:
            answer = client.infer(model, sample.inputs, tuple(sample.answer))
        except InferenceError as err:
            failure = err
        else:
            length = size_of(answer)
            is_checked = random.random() < run.plan.check_share
            if is_checked and not process.check(run.counts, sample, answer):
                failure = WrongAnswerError("wrong answer: differs from the idle server's for the same sample")
        self.is_without_server = isinstance(failure, NoServerError)
        # A refusal is quick: its response time must not make a failing server look fast.
        is_refusal = isinstance(failure, InferenceError) and not isinstance(failure, DeadlineError)
        self._report(protocol, model, None if is_refusal else (clock() - due) * 1000, length, failure)

    def _draw(self) -> tuple[str, str]:
        return random.choice(list(self.run_of.samples))

    def _report(self, protocol: str, model: str, time_ms: float | None, length: int, failure: Exception | None) -> None:
        self.environment.events.request.fire(
            request_type=protocol,
            name=model,
            response_time=time_ms,
            response_length=length,
            exception=failure,
            context={},
        )

    def _has_ended(self, _: Greenlet) -> None:
        self.run_of.under_way -= 1

    def _report_defect(self, greenlet: Greenlet) -> None:
        _, err, traceback = greenlet.exc_info
        self.environment.events.user_error.fire(user_instance=self, exception=err, tb=traceback)
