"""One worker: its jobs in hand, the calls under way, and the ends that wait to be written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from traceback import format_exception
from typing import Any, NamedTuple, TypeVar

from ai102.client import AsyncClient, BadAnswerError, BadRequestError, BusyError, InferenceError, NoServerError
from ai102.client.errors import ModelNotFoundError
from ai102.contract import Contract
from ai102.contract.served import SEALED
from ai102.jobs.item import items_from_batch, stacked
from ai102.jobs.job import Claimed, Ended, JobsError, Priority, State
from ai102.jobs.ledger.ledger import Ledger, Notice
from ai102.jobs.metrics import WorkerMetrics
from ai102.jobs.queue.queue import Queue
from ai102.jobs.worker.batches import Batches
from ai102.jobs.worker.direct import DirectCalls
from ai102.jobs.worker.pace import Manners, Pace
from ai102.jobs.worker.spans import AddSpan, spans_of, traced_of, traceparent_of

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Settings:
    """How much a worker takes on."""

    max_in_hand: int = 1024  # jobs claimed and not ended
    max_held_bytes: int = 32 << 20  # of their inputs; a claim of 16 MB may come on top
    max_call_bytes: int = 16 << 20  # of inputs in one call to Triton, if there is more than one
    bulk: int = 256  # jobs claimed at once
    max_calls: int = 2  # asked of Triton at once
    lease_s: float = 60.0  # a worker that has not ended a job by then has lost it
    call_timeout_s: float = 30.0
    pause_s: float = 0.5  # after a call that no model answered
    # Of the order in which a queue brings jobs: one that is overtaken by so much is lost there.
    overtaken_s: float = 10.0
    sweep_s: float = 1.0
    manners: Manners = field(default_factory=Manners)


class Models(NamedTuple):
    """What a worker knows of models, each by name."""

    max_batch_sizes: Mapping[str, int]  # 0: the model takes no batches
    steps_of: Mapping[str, Set[str]]  # the models that Triton asks itself for one


def models_of(contract: Contract) -> Models:
    """Of a contract's served models."""
    served = {model.name: model for model in contract.served_models}
    steps: dict[str, Set[str]] = {}
    for name, ensemble in contract.pipelines:
        steps[name] = set() if ensemble.in_one_process else {step.model for step in ensemble.steps}
        if ensemble.sealed:
            steps[SEALED + name] = {name, *steps[name]}
    return Models({name: model.max_batch_size for name, model in served.items()}, steps)


class Worker:
    """Belongs to one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        queue: Queue,
        client: AsyncClient,
        direct: DirectCalls,
        models: Models,
        settings: Settings,
        metrics: WorkerMetrics,
        say: Callable[[str], None],
        add_span: AddSpan | None = None,
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._client = client
        self._sizes = models.max_batch_sizes
        self._settings = settings
        self._metrics = metrics
        self._say = say
        self._add_span = add_span
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="worker")
        self._clock = asyncio.get_running_loop().time
        self._pace = Pace(direct, settings.manners, self._clock)
        self._batches = Batches(
            lambda model: self._pace.largest(model, models.max_batch_sizes.get(model, 0)), settings.max_call_bytes
        )
        self._calls: set[asyncio.Task[None]] = set()
        self._in_hand: dict[str, Claimed] = {}
        self._held_bytes = 0  # of their inputs
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._ended: list[Ended] = []
        self._has_ended = asyncio.Event()
        self._is_away = False
        self._brought_at = self._clock()  # when the queue had last brought something
        self._brought_s: dict[Priority, float] = {}
        self._is_bringing = False

    async def run(self) -> None:
        """Work until cancelled. Then what is in hand is given back, so that another worker takes it at once."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._queue.consume(self._brought, self._settings.bulk))
                tasks.create_task(self._write_ends())
                tasks.create_task(self._sweep())
                tasks.create_task(self._renew())
                tasks.create_task(self._pace.look())
        finally:
            for call in self._calls:
                call.cancel()
            await asyncio.gather(*self._calls, return_exceptions=True)
            await self._leave()
            self._thread.shutdown()

    async def _leave(self) -> None:
        ended, self._ended = self._ended, []
        await self._do(self._ledger.end, ended)
        held = list(self._in_hand.values())
        notices = await self._do(partial(self._ledger.give_back, held, "", is_attempt=False))
        await self._queue.publish(notices)

    async def _brought(self, notices: Sequence[Notice]) -> None:
        """Take what the queue brings."""
        self._is_bringing = True
        try:
            claimed = await self._take(notices)
        finally:
            self._is_bringing = False
            self._brought_at = self._clock()
        for job in claimed:
            self._brought_s[job.priority] = max(job.published_s, self._brought_s.get(job.priority, 0.0))

    async def _take(self, notices: Sequence[Notice]) -> list[Claimed]:
        """Claim those that nobody has claimed, as soon as there is room for them, and begin with them."""
        taken: list[Claimed] = []
        ids = [one.id for one in notices]
        while ids:
            await self._has_room.wait()
            claiming = asyncio.ensure_future(self._do(self._ledger.claim, ids, self._settings.lease_s))
            try:
                claimed, ids = await asyncio.shield(claiming)
            except asyncio.CancelledError:
                # The claim goes on in its thread: what it takes is to be given back.
                self._in_hand.update({job.id: job for job in (await claiming).claimed})
                raise
            taken += claimed
            self._in_hand.update({job.id: job for job in claimed})
            self._held_bytes += sum(len(job.item.data) for job in claimed)
            self._check_room()
            self._batches.add(claimed)
            self._ask()
        return taken

    def _check_room(self) -> None:
        is_full = (
            len(self._in_hand) + self._settings.bulk > self._settings.max_in_hand
            or self._held_bytes > self._settings.max_held_bytes
        )
        if is_full or self._is_away:
            self._has_room.clear()
        else:
            self._has_room.set()

    def _let_go(self, ids: Iterable[str]) -> None:
        for id in ids:
            if job := self._in_hand.pop(id, None):
                self._held_bytes -= len(job.item.data)
        self._check_room()

    def _ask(self) -> None:
        """Begin as many calls as may run at once."""
        while len(self._calls) < self._settings.max_calls and not self._is_away:
            batch = self._batches.take(is_last=not self._calls)
            if not batch:
                return
            call = asyncio.create_task(self._call(batch))
            self._calls.add(call)
            call.add_done_callback(self._next)

    def _next(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.result()
            self._ask()

    async def _call(self, batch: Sequence[Claimed]) -> None:
        model, began = batch[0].model, self._clock()
        now_s = self._ledger.now_s()
        self._metrics.called(model, [now_s - job.accepted_s for job in batch])
        traced = traced_of(batch) if self._add_span else []
        self._pace.begins(model)
        try:
            outcome = await self._outcome(batch, traceparent_of(traced))
        finally:
            pause_s = self._pace.ended(model, self._clock() - began)
        if self._add_span and traced:
            ended = {one.id: one for one in outcome} if isinstance(outcome, list) else {}
            for span in spans_of(traced, ended, now_s, self._ledger.now_s(), len(batch)):
                self._add_span(span)
        await self._settle(batch, outcome)
        await asyncio.sleep(pause_s)

    async def _outcome(self, batch: Sequence[Claimed], traceparent: str) -> list[Ended] | InferenceError:
        try:
            return await self._answered(batch, traceparent)
        except InferenceError as err:
            return err
        except Exception as err:  # noqa: BLE001
            # A defect of ours, or bytes in the ledger that are no item: held on to, such jobs would never end.
            self._say(f"defect with {len(batch)} jobs for {batch[0].model}: {''.join(format_exception(err))}")
            return BadAnswerError(f"{batch[0].model}: {type(err).__name__} in the worker, see its log")

    async def _settle(self, batch: Sequence[Claimed], outcome: list[Ended] | InferenceError) -> None:
        first = batch[0]
        match outcome:
            case list():
                self._end(first.model, outcome)
            case BadRequestError() if len(batch) == 1:
                self._end(first.model, [Ended(first.id, first.claim, State.FAILED, error=str(outcome))])
            case BadRequestError():
                for job in batch:  # one of them is at fault
                    await self._call([job])
            case ModelNotFoundError():
                # It may be loading. What is not announced is found again after a while.
                await self._give_back(batch, str(outcome), is_attempt=True, is_announced=False)
            case BusyError():
                await self._give_back(batch, str(outcome), is_attempt=False)
                await self._wait_for(first.model)
            case NoServerError():
                await self._give_back(batch, str(outcome), is_attempt=outcome.was_sent)
                await self._wait_for(first.model)
            case _:
                await self._give_back(batch, str(outcome), is_attempt=True)

    async def _answered(self, batch: Sequence[Claimed], traceparent: str) -> list[Ended]:
        first = batch[0]
        arrays = stacked(first.item.forms, [job.item.data for job in batch])
        if not self._sizes.get(first.model, 0):
            arrays = {name: array[0] for name, array in arrays.items()}
        outputs = await self._client.infer(
            first.model,
            arrays,
            request_id=first.id,
            traceparent=traceparent,
            timeout_s=self._settings.call_timeout_s,
        )
        if not self._sizes.get(first.model, 0):
            outputs = {name: array[None] for name, array in outputs.items()}
        if not outputs or any(len(array) != len(batch) for array in outputs.values()):
            raise BadAnswerError(f"{first.model}: the answer to {len(batch)} rows has another number of rows")
        items = items_from_batch(outputs)
        return [Ended(job.id, job.claim, State.SUCCEEDED, item) for job, item in zip(batch, items, strict=True)]

    def _end(self, model: str, ended: Sequence[Ended]) -> None:
        self._metrics.ended(model, ended)
        self._ended += ended
        self._has_ended.set()

    async def _write_ends(self) -> None:
        while True:
            await self._has_ended.wait()
            self._has_ended.clear()
            ended, self._ended = self._ended, []
            try:
                await self._do(self._ledger.end, ended)
            except JobsError as err:
                self._say(f"{err}: trying again")
                self._ended += ended
                self._has_ended.set()
                await asyncio.sleep(self._settings.pause_s)
                continue
            self._let_go(one.id for one in ended)

    async def _give_back(
        self, batch: Sequence[Claimed], reason: str, *, is_attempt: bool, is_announced: bool = True
    ) -> None:
        self._metrics.given_back(batch[0].model, len(batch))
        try:
            notices = await self._do(partial(self._ledger.give_back, batch, reason, is_attempt=is_attempt))
            if is_announced:
                await self._queue.publish(notices)
        except JobsError as err:
            self._say(f"{err}: {len(batch)} jobs are taken up again later")
        self._let_go(job.id for job in batch)

    async def _wait_for(self, model: str) -> None:
        """Begin nothing while no server answers for the model."""
        if self._is_away:
            return
        self._is_away = True
        self._check_room()
        self._say(f"jobs wait: {model} is not served at the moment")
        try:
            while True:
                await asyncio.sleep(self._settings.pause_s)
                if await self._is_served(model):
                    break
        finally:
            self._is_away = False
            self._check_room()
        self._say("jobs go on")

    async def _is_served(self, model: str) -> bool:
        try:
            await self._client.config(model)
        except InferenceError:
            return False
        return True

    async def _renew(self) -> None:
        """Keep what is in hand, however long it takes."""
        while True:
            await asyncio.sleep(self._settings.lease_s / 4)
            claimed = list(self._in_hand.values())
            try:
                await self._do(self._ledger.renew, claimed, self._settings.lease_s)
            except JobsError as err:
                self._say(f"{err}: trying again")

    async def _sweep(self) -> None:
        """Take up what workers or the queue lost, and remove what is no longer kept."""
        while True:
            await asyncio.sleep(self._settings.sweep_s)
            try:
                while await self._sweep_once():
                    pass
            except JobsError as err:
                self._say(f"{err}: trying again")

    async def _sweep_once(self) -> bool:
        """Whether there is more to do."""
        dropped = await self._do(self._ledger.drop_old)
        notices = await self._do(self._ledger.take_back, self._settings.bulk)
        for priority, before_s in self._overtaken().items():
            notices += await self._do(self._ledger.lost, priority, before_s, self._settings.bulk)
        self._metrics.taken_up(len(notices))
        self._metrics.holds(len(self._in_hand), is_polite=self._pace.is_polite)
        # Taken here and not announced: a queue that lost them may be broken still.
        await self._take(notices)
        return bool(dropped or notices)

    def _overtaken(self) -> dict[Priority, float]:
        """By priority: what was handed to the queue before this and is still queued has been lost there."""
        slack_s = self._settings.overtaken_s
        is_silent = not self._is_bringing and self._clock() - self._brought_at > slack_s
        if is_silent:
            return {priority: self._ledger.now_s() - slack_s for priority in Priority}
        return {priority: brought_s - slack_s for priority, brought_s in self._brought_s.items()}

    async def _do(self, work: Callable[..., _Result], *arguments: Any) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
