"""The client of asynchronous jobs for threads."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ai102.client.errors import InferenceError
from ai102.client.exchange import Pause, Retry, Steps
from ai102.client.jobs.items import JobItem
from ai102.client.jobs.messages import JobResult, JobStatus
from ai102.client.jobs.senders import JobSender
from ai102.client.jobs.session import Done, Session, after
from ai102.client.traces import traced

if TYPE_CHECKING:
    from ai102.client.tls import Tls

Ids = list[str]  # a method of the class is called list
Page = list[JobStatus]


class JobClient:
    """`with JobClient("http://127.0.0.1:8090") as jobs:` or `https://gateway:8080`; threads may share it.

    It needs httpx, of `ai102[jobs]`. Several addresses are named with commas and take turns. `timeout_s` bounds each
    call from its beginning to its end, every retry included. A call is tried `retry.tries` times where no server
    answers or the connection breaks, and every job has a key, so that no retry makes a second job. A server that is
    busy (429, 503) is left alone for as long as it asks and then asked again, until the deadline. `headers` go with
    every request; `token` is short for `{"authorization": "Bearer TOKEN"}`. `tls` is as for Client.
    Any call may raise InferenceError: its class says what went wrong.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 60.0,
        retry: Retry | None = None,
        headers: Mapping[str, str] | None = None,
        token: str = "",
        tls: Tls | None = None,
    ) -> None:
        """Raises UserError when the URL is of another kind, `tls` does not fit or httpx is missing."""
        self.url = url
        self._session = Session(url, timeout_s, retry or Retry(), headers or {}, token, tls)
        self._send = JobSender(self._session.secure)
        self._is_closed = False

    def submit(
        self,
        model: str,
        item: JobItem,
        *,
        key: str = "",
        priority: str = "normal",
        not_after: datetime | None = None,
        callback: str = "",
        timeout_s: float | None = None,
    ) -> str:
        """Hand in one job and return its id; when this returns, the server keeps the job.

        `item` is an encoded image or a sealed payload as bytes, a text, or arrays of one row [1, ...] by input name.
        `key` names the job among the caller's: a second call with the same key and item returns the id of the first.
        `priority` is high, normal or low. A job that is not begun by `not_after`, which has a time zone, expires.
        `callback` is a URL that the server calls when the job has ended.
        Raises JobRefusedError for an item that the API refuses, ModelNotFoundError, ForbiddenError, DeadlineError.
        """
        options = {"priority": priority, "not_after": not_after, "callback": callback}
        id: str = self._run(self._session.submit(model, item, key, timeout_s, options), "submit", model)
        return id

    def submit_many(
        self,
        model: str,
        items: Iterable[JobItem],
        *,
        keys: Iterable[str] | None = None,
        priority: str = "normal",
        not_after: datetime | None = None,
        callback: str = "",
        timeout_s: float | None = None,
    ) -> Ids:
        """Hand in a job for each item and return their ids in the same order.

        The items are read as they are sent, in requests of at most 1000 jobs and about 8 MB; `timeout_s` bounds each
        request with its retries. `keys` are one for each item. The rest is as for `submit`.
        A refused item keeps none of the others from being handed in: JobRefusedError, raised at the end, has the ids
        of those accepted, and which were refused and why. After any other error some items may have been handed in: a
        second call with the same `keys` returns their ids, and hands in the others.
        """
        options = {"priority": priority, "not_after": not_after, "callback": callback}
        steps = self._session.submit_many(model, items, keys, timeout_s, options)
        ids: Ids = self._run(steps, "submit_many", model)
        return ids

    def result(self, id: str, timeout_s: float | None = None) -> JobResult:
        """Wait until the job has succeeded and return its outputs.

        Raises JobFailedError when it ended in another state, JobNotFoundError, and DeadlineError when it has not ended
        within `timeout_s` (default: the client's); a later call may still find its result.
        """
        result: JobResult = self._run(self._session.result(id, timeout_s), "result")
        return result

    def as_completed(self, ids: Iterable[str], timeout_s: float | None = None) -> Iterator[JobResult]:
        """Each job's result once, in any order, soon after it has ended; whatever its state, nothing is raised for it.

        Up to 1000 jobs are asked about at once, so 100,000 ids need their own memory and that of 1000 results. Raises
        DeadlineError when some have not ended within `timeout_s` (default: no limit); a server that stops answering is
        asked again until then.
        """
        self._check_open()
        steps = self._session.as_completed(ids, timeout_s)
        with closing(steps):
            step = after(steps)
            while not isinstance(step, Done):
                if isinstance(step, JobResult):
                    yield step
                    step = after(steps)
                else:
                    step = self._step_after(steps, step)

    def get(self, id: str) -> JobStatus:
        """The job as it is now, without its outputs. Raises JobNotFoundError."""
        status: JobStatus = self._run(self._session.get(id), "get")
        return status

    def cancel(self, id: str) -> JobStatus:
        """Cancel the job unless it has ended; the job as it is then. Raises JobNotFoundError."""
        status: JobStatus = self._run(self._session.cancel(id), "cancel")
        return status

    def list(self, *, state: str = "", before: str = "", limit: int = 100) -> Page:
        """At most `limit` (up to 1000) of the caller's jobs, the newest first, all or those in one state.

        `before` is the id of a job: those handed in before it follow.
        """
        page: Page = self._run(self._session.list(state, before, limit), "list")
        return page

    def close(self) -> None:
        """Close every connection."""
        self._is_closed = True
        self._send.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise RuntimeError("this client is closed: create another, or keep the calls inside its with statement")

    def _run(self, steps: Steps, verb: str, model: str = "") -> Any:
        self._check_open()
        steps = traced(steps, verb, model, {})
        with closing(steps):
            step = after(steps)
            while not isinstance(step, Done):
                step = self._step_after(steps, step)
            return step.value

    def _step_after(self, steps: Steps, step: Any) -> Any:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return after(steps)
        try:
            answer = self._send(step)
        except InferenceError as err:
            return after(steps, err=err)
        return after(steps, answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.close()
