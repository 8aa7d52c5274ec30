"""The client of asynchronous jobs for asyncio: the calls of `JobClient`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import closing
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ai102.client.errors import InferenceError
from ai102.client.exchange import Pause, Retry, Steps
from ai102.client.jobs.client import Ids, Page
from ai102.client.jobs.items import JobItem
from ai102.client.jobs.messages import JobResult, JobStatus
from ai102.client.jobs.senders import AsyncJobSender
from ai102.client.jobs.session import Done, Session, after
from ai102.client.traces import traced

if TYPE_CHECKING:
    from ai102.client.tls import Tls


class AsyncJobClient:
    """`async with AsyncJobClient("http://127.0.0.1:8090") as jobs:`; see `JobClient`, which is alike.

    It belongs to one event loop, in which any number of tasks may share it.
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
        self._send = AsyncJobSender(self._session.secure)
        self._is_closed = False

    async def submit(
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
        """As JobClient.submit."""
        options = {"priority": priority, "not_after": not_after, "callback": callback}
        id: str = await self._run(self._session.submit(model, item, key, timeout_s, options), "submit", model)
        return id

    async def submit_many(
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
        """As JobClient.submit_many."""
        options = {"priority": priority, "not_after": not_after, "callback": callback}
        steps = self._session.submit_many(model, items, keys, timeout_s, options)
        ids: Ids = await self._run(steps, "submit_many", model)
        return ids

    async def result(self, id: str, timeout_s: float | None = None) -> JobResult:
        """As JobClient.result."""
        result: JobResult = await self._run(self._session.result(id, timeout_s), "result")
        return result

    async def as_completed(self, ids: Iterable[str], timeout_s: float | None = None) -> AsyncIterator[JobResult]:
        """As JobClient.as_completed, for `async for`."""
        self._check_open()
        steps = self._session.as_completed(ids, timeout_s)
        with closing(steps):
            step = after(steps)
            while not isinstance(step, Done):
                if isinstance(step, JobResult):
                    yield step
                    step = after(steps)
                else:
                    step = await self._step_after(steps, step)

    async def get(self, id: str) -> JobStatus:
        """As JobClient.get."""
        status: JobStatus = await self._run(self._session.get(id), "get")
        return status

    async def cancel(self, id: str) -> JobStatus:
        """As JobClient.cancel."""
        status: JobStatus = await self._run(self._session.cancel(id), "cancel")
        return status

    async def list(self, *, state: str = "", before: str = "", limit: int = 100) -> Page:
        """As JobClient.list."""
        page: Page = await self._run(self._session.list(state, before, limit), "list")
        return page

    async def close(self) -> None:
        """As JobClient.close."""
        self._is_closed = True
        await self._send.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise RuntimeError("this client is closed: create another, or keep the calls inside its with statement")

    async def _run(self, steps: Steps, verb: str, model: str = "") -> Any:
        self._check_open()
        steps = traced(steps, verb, model, {})
        with closing(steps):
            step = after(steps)
            while not isinstance(step, Done):
                step = await self._step_after(steps, step)
            return step.value

    async def _step_after(self, steps: Steps, step: Any) -> Any:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return after(steps)
        try:
            answer = await self._send(step)
        except InferenceError as err:
            return after(steps, err=err)
        return after(steps, answer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()
