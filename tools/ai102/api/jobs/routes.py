"""The addresses under /v1/jobs."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from ai102.api import documented
from ai102.api.bodies import check_is_json, whole
from ai102.api.gate import Gate
from ai102.api.jobs.asked import MAX_KEY_CHARS, ids_from_json, job_from_row, wanted_from_json
from ai102.api.jobs.caller import Caller, caller_of
from ai102.api.jobs.messages import EndedJobs, HandedIn, Id, Page, Shown, body_of_ids, body_of_jobs
from ai102.api.jobs.shown import answer_shown, shown
from ai102.api.problems import Problem
from ai102.contract.served import ServedModel
from ai102.jobs.item import Item
from ai102.jobs.job import Job, JobsError, NewJob, State
from ai102.jobs.ledger.ledger import Accepted
from ai102.jobs.quota import FullError
from ai102.jobs.service import Jobs

MAX_WAIT_S = 30.0
MAX_PAGE = 1000
MAX_IDS_BYTES = 64 << 10
# A comment keeps a proxy from taking a quiet stream for a dead one.
BEAT_S = 10.0
_WAIT = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s)?")
_Wait = Annotated[
    str, Query(pattern=f"^{_WAIT.pattern}$", description=f"How long to wait, at most {MAX_WAIT_S:g}s; such as 10s.")
]


@dataclass(frozen=True)
class Limits:
    """What one call may hand in."""

    max_input_bytes: int = 10 << 20
    max_body_bytes: int = 32 << 20


def router_for(jobs: Jobs, models: Mapping[str, ServedModel], gate: Gate, limits: Limits) -> APIRouter:
    router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

    at_all = ("malformed", "upload-timeout", "too-large", "unsupported-type", "invalid", "unavailable")

    @router.post(
        "",
        summary="Hand in jobs",
        openapi_extra={"requestBody": body_of_jobs(limits.max_body_bytes)},
        **documented.of(HandedIn, *at_all, "forbidden", "key-used", "queue-full", "busy", status=202),
    )
    async def submit(request: Request) -> Response:
        """Accept one job, or each of a list; what was accepted is kept until it has ended and a while longer."""
        check_is_json(request)
        caller = caller_of(request.headers)
        with gate.admitted() as held:
            wanted = wanted_from_json(await whole(request, limits.max_body_bytes, gate.limits, held))
            key = _key(request)
            made = [
                _made(row, models, caller, limits, _key_of(key, place, wanted.is_many), request.state.traceparent)
                for place, row in enumerate(wanted.rows)
            ]
            new = [one for one in made if isinstance(one, NewJob)]
            accepted = iter(await _accepted(jobs, caller, new) if new else [])
            rows = [_answered(one, next(accepted)) if isinstance(one, NewJob) else one for one in made]
        if wanted.is_many:
            answers = [_refused(row, request) if isinstance(row, Problem) else row for row in rows]
            return JSONResponse({"jobs": answers}, 202)
        (row,) = rows
        if isinstance(row, Problem):
            raise row
        return JSONResponse(row, 202, {"Location": f"/v1/jobs/{row['id']}"})

    @router.get("", summary="List your jobs", **documented.of(Page, "invalid", "unavailable"))
    async def listed(
        request: Request,
        state: Annotated[State, Query(description="Only jobs in this state.")] = None,  # type: ignore[assignment]
        before: Annotated[Id, Query(description="Only jobs before this id in the list.")] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many at most.")] = 100,
    ) -> Response:
        """Your jobs, the newest first; `before` continues after a page's last id."""
        owner = caller_of(request.headers).name
        page = await _asked(jobs.ledger.page, owner, state, before, limit)
        return JSONResponse({"jobs": [shown(job) for job in page], "next": page[-1].id if len(page) == limit else None})

    @router.post(
        "/ended",
        summary="Which of some jobs have ended",
        openapi_extra={"requestBody": body_of_ids()},
        **documented.of(EndedJobs, *at_all, "busy"),
    )
    async def ended(request: Request, wait: _Wait = "0s") -> Response:
        """Those of the jobs in `ids` that have ended, with their answers, as soon as there is one or `wait` is over.

        `gone` are ids of which you have no job.
        """
        check_is_json(request)
        caller = caller_of(request.headers)
        with gate.admitted() as held:
            ids = ids_from_json(await whole(request, MAX_IDS_BYTES, gate.limits, held))
        wait_s = _seconds(wait)
        known = await _asked(jobs.ledger.owned, caller.name, ids)
        over = await _asked(jobs.ledger.ended_of, known)
        if not over and known and wait_s:
            over = await _any_ended(jobs, known, wait_s)
        finished = await _asked(jobs.ledger.with_answers, caller.name, [id for id in ids if id in over])
        rows = [_with_answer(job, answer) for job, answer in finished]
        jobs.fetched.add(job.id for job, answer in finished if answer)
        return JSONResponse({"jobs": rows, "gone": [id for id in ids if id not in known]})

    of_one = ("not-found", "invalid", "unavailable")

    @router.get("/{id}", summary="One job, with its answer", **documented.of(Shown, *of_one))
    async def one(request: Request, id: Id, wait: _Wait = "0s") -> Response:
        """The job as it is; with `wait`, such as 10s, as it is when it has ended or that time is over."""
        caller = caller_of(request.headers)
        wait_s = _seconds(wait)
        job = await _owned(jobs, caller, id)
        if wait_s and not job.state.is_final:
            await _waited(jobs, id, wait_s)
            job = await _owned(jobs, caller, id)
        return JSONResponse(await _whole(jobs, caller, job))

    @router.post("/{id}/cancel", summary="Cancel a job", **documented.of(Shown, *of_one))
    async def cancel(request: Request, id: Id) -> Response:
        """Cancel a job that has not ended; one that has stays as it is."""
        caller = caller_of(request.headers)
        await _owned(jobs, caller, id)
        job = await _asked(jobs.ledger.cancel, caller.name, id)
        if job is None:
            raise _not_there()
        return JSONResponse(shown(job))

    @router.get(
        "/{id}/events", summary="Follow a job", response_class=StreamingResponse, responses=documented.stream(*of_one)
    )
    async def events(request: Request, id: Id) -> Response:
        """Server-sent events: `state` at once and at each change until the job has ended."""
        caller = caller_of(request.headers)
        job = await _owned(jobs, caller, id)
        # nginx would hold events back until it has a buffer full of them.
        unbuffered = {"X-Accel-Buffering": "no"}
        return StreamingResponse(_events(jobs, caller, job), headers=unbuffered, media_type="text/event-stream")

    return router


async def _events(jobs: Jobs, caller: Caller, job: Job) -> AsyncIterator[str]:
    yield _event(await _whole(jobs, caller, job))
    while not job.state.is_final:
        if not await _waited(jobs, job.id, BEAT_S):
            yield ": still there\n\n"
            continue
        current = await _asked(jobs.ledger.get, caller.name, job.id)
        if current is None:
            return
        job = current
        yield _event(await _whole(jobs, caller, job))


def _event(row: Mapping[str, Any]) -> str:
    return f"event: state\ndata: {json.dumps(row)}\n\n"


def _made(
    row: Any, models: Mapping[str, ServedModel], caller: Caller, limits: Limits, key: str, traceparent: str
) -> NewJob | Problem:
    try:
        return job_from_row(row, models, caller, limits.max_input_bytes, key, traceparent)
    except Problem as problem:
        return problem


def _key(request: Request) -> str:
    keys = request.headers.getlist("idempotency-key")
    if len(keys) > 1 or (keys and not 1 <= len(keys[0]) <= MAX_KEY_CHARS):
        raise Problem("invalid", f"Idempotency-Key: Send it once, with at most {MAX_KEY_CHARS} characters.")
    return keys[0] if keys else ""


def _key_of(key: str, place: int, is_many: bool) -> str:
    """The call's key as that of its job at `place`: a repeated call has the same jobs in the same order."""
    return f"{key}/{place}" if key and is_many else key


async def _accepted(jobs: Jobs, caller: Caller, new: Sequence[NewJob]) -> list[Accepted]:
    try:
        with jobs.quota.taken(caller.name, len(new)):
            return await jobs.intake.accept(new)
    except FullError as err:
        raise Problem("queue-full", str(err)) from err
    except JobsError as err:
        raise Problem("unavailable", "Jobs cannot be kept at the moment: try again in a moment.") from err


def _answered(job: NewJob, accepted: Accepted) -> dict[str, Any] | Problem:
    if accepted.is_other:
        return Problem("key-used", "The key belongs to an earlier job with another input.", id=accepted.id)
    row: dict[str, Any] = {"id": accepted.id, "state": State.QUEUED.value}
    if accepted.is_repeated:
        row = {"id": accepted.id, "is_repeated": True}
    if job.key:
        row["key"] = job.key
    return row


def _refused(problem: Problem, request: Request) -> dict[str, Any]:
    return {"problem": problem.body(request.state.request_id)}


async def _owned(jobs: Jobs, caller: Caller, id: str) -> Job:
    job: Job | None = await _asked(jobs.ledger.get, caller.name, id)
    if job is None:
        raise _not_there()
    return job


def _not_there() -> Problem:
    return Problem("not-found", "You have no such job; a job that has ended is kept for a while only.")


async def _whole(jobs: Jobs, caller: Caller, job: Job) -> dict[str, Any]:
    answer: Item | None = None
    if job.state is State.SUCCEEDED:
        answer = await _asked(jobs.ledger.answer, caller.name, job.id)
        jobs.fetched.add([job.id])
    return _with_answer(job, answer)


def _with_answer(job: Job, answer: Item | None) -> dict[str, Any]:
    return shown(job) | ({"outputs": answer_shown(answer)} if answer else {})


async def _waited(jobs: Jobs, id: str, wait_s: float) -> bool:
    return bool(await _any_ended(jobs, {id}, wait_s))


async def _any_ended(jobs: Jobs, ids: AbstractSet[str], wait_s: float) -> AbstractSet[str]:
    try:
        return await jobs.watch.ended(ids, wait_s)
    except JobsError as err:
        raise _unavailable() from err


async def _asked(question: Any, *arguments: Any) -> Any:
    """The ledger's answer, from a thread."""
    try:
        return await asyncio.to_thread(question, *arguments)
    except JobsError as err:
        raise _unavailable() from err


def _unavailable() -> Problem:
    return Problem("unavailable", "Jobs cannot be looked up at the moment: try again in a moment.")


def _seconds(text: str) -> float:
    match = _WAIT.fullmatch(text)
    seconds = float(match[1]) / (1000 if match[2] == "ms" else 1) if match else math.inf
    if seconds > MAX_WAIT_S:
        raise Problem("invalid", f"wait: Send a time of at most {MAX_WAIT_S:g}s, such as 10s.")
    return seconds
