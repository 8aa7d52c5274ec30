"""How jobs are handed in and waited for. Written once: `client` and `aio` drive these generators.

A generator yields each step, as those of `exchange`, and is sent its outcome; a JobResult that it yields goes to the
caller.
"""

from __future__ import annotations

import math
import random
import secrets
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any, NamedTuple

from ai102.client.addresses import Balancer, target_from_url
from ai102.client.errors import BusyError, DeadlineError, InferenceError, NoServerError
from ai102.client.exchange import Deadline, Pause, Retry, Steps, exchange
from ai102.client.inference import checked_headers
from ai102.client.jobs import messages
from ai102.client.jobs.errors import JobFailedError, JobRefusedError, not_ended, refusal_from_problem
from ai102.client.jobs.items import JobItem, row_from_item
from ai102.client.jobs.messages import FINAL_STATES, MAX_IDS, Ask
from ai102.client.tls import Secure, Tls, secure_from_tls
from ai102.errors import UserError

# How long the server may wait for a job to end before it answers; below its own limit of 30 s and most proxies'.
POLL_S = 10.0
# The same while there are more ids than one request may name: the others are to be asked about too.
SHORT_POLL_S = 1.0
# What an answer may take beyond the time that the server was asked to wait: later, the connection is taken for dead.
ANSWER_S = 30.0
# Ids that one request named are named again by the next for so long, as long as some of them have ended.
STAY_S = 5.0
# A question about many ids costs the server more than a few results are worth.
PACE_S, MANY, FEW = 0.05, 100, 20
# Between two questions to a server that answered before and does not answer now.
PATIENCE_S = 1.0
_PROXY_GAVE_UP = ("502", "504")


class Done(NamedTuple):
    """The end of a generator's steps."""

    value: Any


def after(steps: Steps, outcome: Any = None, err: InferenceError | None = None) -> Any:
    """The next step, once the last one came to `outcome` or `err`; a Done after the last."""
    try:
        return steps.send(outcome) if err is None else steps.throw(err)
    except StopIteration as done:
        return Done(done.value)


@dataclass
class Session:
    """The state that the two clients share."""

    url: str
    timeout_s: float
    retry: Retry
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # of every request
    token: str = field(default="", repr=False)
    tls: Tls | None = None
    secure: Secure | None = field(init=False)
    balancer: Balancer = field(init=False)
    _has_answered: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        """Raises UserError when the URL is none of HTTP, or `tls` does not go with it."""
        if self.url.partition("://")[0] not in ("http", "https"):
            raise UserError(f'"{self.url}" is no address of the API: write http://HOST:PORT or https://HOST:PORT')
        _, is_tls, addresses = target_from_url(self.url)
        if self.tls is not None and not is_tls:
            raise UserError(f"{self.url}: tls is given, but the URL is not for TLS: write https://")
        self.secure = secure_from_tls(self.tls or Tls(), "http") if is_tls else None
        self.balancer = Balancer(addresses, time.monotonic)
        credentials = {"authorization": f"Bearer {self.token}"} if self.token else {}
        self.headers = checked_headers({**self.headers, **credentials}, "http")

    def submit(self, model: str, item: JobItem, key: str, timeout_s: float | None, options: Mapping[str, Any]) -> Steps:
        """See JobClient.submit."""
        ids = yield from self.submit_many(model, [item], [key], timeout_s, options)
        return ids[0]

    def submit_many(
        self,
        model: str,
        items: Iterable[JobItem],
        keys: Iterable[str] | None,
        timeout_s: float | None,
        options: Mapping[str, Any],
    ) -> Steps:
        """See JobClient.submit_many."""
        pairs = zip(items, repeat(""), strict=False) if keys is None else zip(items, keys, strict=True)
        # The key is there before the first try, so that every further one names the same job.
        rows = (row_from_item(model, item, key or secrets.token_hex(16), **options) for item, key in pairs)
        ids: list[str] = []
        refusals: dict[int, str] = {}
        for part in messages.parts_of(rows):
            deadline = self._deadline(timeout_s)
            document = yield from self._ask(messages.handing_in(model, part), deadline, is_patient=True)
            for answer in messages.answers_to_rows(document, len(part)):
                if "problem" in answer:
                    refusals[len(ids)] = refusal_from_problem(answer["problem"], model)
                ids.append(answer.get("id", "") if "problem" not in answer else "")
        if refusals:
            raise JobRefusedError(model, ids, refusals)
        return ids

    def result(self, id: str, timeout_s: float | None) -> Steps:
        """See JobClient.result."""
        deadline = self._deadline(timeout_s)
        state = ""
        while True:
            wait_s = self._wait_s(POLL_S, deadline)
            try:
                row = yield from self._ask(
                    messages.asking_for_one(id, wait_s), deadline, limit_s=wait_s + ANSWER_S, is_patient=True
                )
            except DeadlineError as err:
                if err.is_from_server or not state:
                    raise
                raise not_ended(self.url, f"job {id} has not ended ({state})", deadline.timeout_s) from err
            state = messages.status_from_row(row).state
            if state in FINAL_STATES:
                result = messages.result_from_row(row)
                if state != "succeeded":
                    raise JobFailedError(result)
                return result

    def as_completed(self, ids: Iterable[str], timeout_s: float | None) -> Steps:
        """See JobClient.as_completed. Yields each JobResult besides the steps."""
        deadline = self._deadline(math.inf if timeout_s is None else timeout_s)
        clock = self.balancer.clock
        waiting = deque(dict.fromkeys(ids))
        asked: list[str] = []
        moves_at, in_vain = clock() + STAY_S, 0
        while waiting or asked:
            while waiting and len(asked) < MAX_IDS:
                asked.append(waiting.popleft())
            count = len(waiting) + len(asked)
            wait_s = self._wait_s(_longest_wait_s(count, in_vain), deadline)
            try:
                document = yield from self._ask(
                    messages.asking_for_ended(asked, wait_s), deadline, limit_s=wait_s + ANSWER_S, is_patient=True
                )
            except DeadlineError as err:
                if err.is_from_server or not self._has_answered:
                    raise
                raise not_ended(self.url, f"{count} jobs have not ended", deadline.timeout_s) from err
            results = messages.results_from_ended(document)
            yield from results  # type: ignore[misc]  # the caller's, no steps
            over = {result.id for result in results}
            asked = [id for id in asked if id not in over]
            in_vain = 0 if over else in_vain + 1
            if waiting and (not over or clock() >= moves_at):
                waiting.extend(asked)
                asked, moves_at = [], clock() + STAY_S
            elif len(asked) > MANY and 0 < len(over) < FEW and clock() + PACE_S < deadline.ends:
                yield Pause(PACE_S)

    def get(self, id: str) -> Steps:
        """See JobClient.get."""
        return messages.status_from_row((yield from self._ask(messages.asking_for_one(id), self._deadline(None))))

    def cancel(self, id: str) -> Steps:
        """See JobClient.cancel."""
        return messages.status_from_row((yield from self._ask(messages.cancelling(id), self._deadline(None))))

    def list(self, state: str, before: str, limit: int) -> Steps:
        """See JobClient.list."""
        page = yield from self._ask(messages.listing(state, before, limit), self._deadline(None))
        return messages.statuses_from_page(page)

    def _deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline.after(self.timeout_s if timeout_s is None else timeout_s, self.balancer.clock())

    def _wait_s(self, longest_s: float, deadline: Deadline) -> float:
        """Less than there is left, so that the server's answer is here before the deadline."""
        return min(longest_s, max(0.0, 0.9 * (deadline.ends - self.balancer.clock())))

    def _ask(self, ask: Ask, deadline: Deadline, *, limit_s: float = math.inf, is_patient: bool = False) -> Steps:
        """The document of the answer; one attempt takes `limit_s` at most.

        A server that says when to come back is asked again then, until the deadline. With `is_patient`, one that
        answered before and now does not is asked again too.
        """
        clock = self.balancer.clock
        call: Any = replace(ask, headers=self.headers)
        while True:
            ends = min(deadline.ends, clock() + limit_s)
            part = Deadline(ends, min(deadline.timeout_s, limit_s))
            try:
                document = yield from exchange(call, self.balancer, self.retry, part, self.url, random.random)
            except InferenceError as err:
                pause_s = _pause_s(err, is_patient and self._has_answered)
                if pause_s is None or clock() + pause_s >= deadline.ends:
                    raise
                yield Pause(pause_s)
            else:
                self._has_answered = True
                return document


def _pause_s(err: InferenceError, is_patient: bool) -> float | None:
    """How long to leave the server alone before the same question; None where it is not asked again."""
    if isinstance(err, BusyError) and err.retry_after_s is not None:
        return err.retry_after_s
    is_away = isinstance(err, NoServerError | BusyError | DeadlineError) or err.status in _PROXY_GAVE_UP
    return PATIENCE_S if is_patient and is_away else None


def _longest_wait_s(count: int, in_vain: int) -> float:
    """How long the server waits for one of the ids to end, where `count` are not known to have ended.

    Where one request cannot name them all, all are asked about before the server is to wait again.
    """
    if count <= MAX_IDS:
        return POLL_S
    requests = math.ceil(count / MAX_IDS)
    return SHORT_POLL_S if in_vain and in_vain % requests == 0 else 0.0
