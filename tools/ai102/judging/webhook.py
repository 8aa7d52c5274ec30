"""Flagger's webhooks: one judgement of a canary at a time, its result kept for the revision.

Flagger 1.44 takes a status above 202 as a refusal and puts the body into its events. It tries 5xx and 429 again and
drops their body, so a refusal here is 4xx. Its payload names the canary, the phase of the rollout and a checksum of
the revision, not the kind of hook: that is the last part of the address.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any, NamedTuple

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ai102.errors import UserError
from ai102.judging.judgement import Judgement
from ai102.judging.live.record import Batch, side_of
from ai102.judging.live.trial import Trial
from ai102.judging.page import html_of

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
CHECKSUM = re.compile(r"[A-Za-z0-9._-]{0,64}")
MAX_BODY = 64 << 10
GO, WAIT, STOP = 200, 409, 412
# Hooks that only tell: they are answered, and nothing follows from them.
TELLING = ("confirm-rollout", "pre-rollout", "event")
ASKING = ("rollout", "confirm-traffic-increase", "confirm-promotion", "rollback")
HOOKS = (*TELLING, *ASKING, "post-rollout")


class CancelledError(Exception):
    """The judgement is of a revision that is no longer rolled out."""


# Fills the judgement; calls its second argument after each round, and asks the third, if any, for what the pods of the
# canary say of themselves. Raises UserError where the canary cannot be asked.
Run = Callable[[Judgement, Callable[[Judgement], None], Trial | None], Judgement]


class Answer(NamedTuple):
    status: int
    text: str


class Canary(NamedTuple):
    namespace: str
    name: str


@dataclass
class Kept:
    """The judgement of one revision, and its answers to live traffic; `trial` is None where nothing is recorded."""

    checksum: str
    judgement: Judgement
    trial: Trial | None
    has_ended: bool = False  # what is recorded now is no longer of the trial
    copies_have_ended: bool = (
        False  # Flagger sends all calls to the canary alone, until what was in service is replaced
    )
    is_stop_kept: bool = False
    cancelled: Event = field(default_factory=Event)
    mistake: str = ""  # why it could not be made
    future: Future[None] | None = None


class Gate:
    """Answers the hooks of the canaries behind one address.

    `keep` is called with each judgement that has ended, and again when live answers stop the release. `new_trial` gives
    what live answers are collected in, for each revision; None where nothing is recorded.
    """

    def __init__(
        self, new: Callable[[], Judgement], run: Run, keep: Callable[[Canary, Kept], None],
        new_trial: Callable[[], Trial | None] = lambda: None,
    ) -> None:  # fmt: skip
        self._new, self._run, self._keep, self._new_trial = new, run, keep, new_trial
        self._kept: dict[Canary, Kept] = {}
        self._lock = Lock()
        # One thread: what is asked of one canary would slow what another judgement measures.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="judgement")

    def answer(self, hook: str, canary: Canary, checksum: str) -> Answer:
        """The answer that Flagger gets."""
        if hook in TELLING:
            return Answer(GO, "go on")
        if hook == "post-rollout":
            with self._lock:
                if kept := self._kept.get(canary):
                    kept.cancelled.set()
                    kept.has_ended = True
            return Answer(GO, "go on")
        kept = self._judged(canary, checksum)
        judgement = kept.judgement
        if live_stop := self._live_stop(canary, kept):
            return Answer(GO if hook == "rollback" else STOP, f"stop: on live traffic: {live_stop}")
        if kept.mistake:
            return Answer(WAIT, f"the canary cannot be judged: {kept.mistake}")
        if hook == "rollback":
            if judgement.is_over and judgement.verdict == "stop":
                return Answer(GO, judgement.reason)
            return Answer(WAIT, f"no reason to roll back: {judgement.reason}")
        if not judgement.is_over:
            return Answer(GO if hook == "rollout" else WAIT, f"judging: {judgement.reason}")
        if judgement.verdict != "promote":
            return Answer(STOP, f"{judgement.verdict}: {judgement.reason}")
        if kept.trial is not None and hook == "confirm-promotion":
            if kept.trial.waits:
                return Answer(WAIT, f"waits for live answers: {kept.trial.waits}")
            if kept.trial.doubt:
                return Answer(STOP, f"undecided: {kept.trial.doubt}")
            kept.copies_have_ended = kept.trial.wanted > 0
        if kept.trial is not None and hook == "confirm-traffic-increase":
            kept.trial.begin_phase()
        return Answer(GO, f"promote: {judgement.reason}")

    def take(self, batch: Batch) -> None:
        """Add records of live answers to the trial of their pod's Deployment; those of no trial are left out."""
        for canary, kept in list(self._kept.items()):
            side = side_of(batch.host, canary.name)
            is_over = kept.has_ended or kept.copies_have_ended
            if side is not None and kept.trial is not None and not is_over:
                kept.trial.add_dropped(batch.dropped)
                if side == "canary" and batch.resident_bytes:
                    kept.trial.add_memory(batch.host, batch.model, batch.resident_bytes)
                for record in batch.records:
                    kept.trial.add(side, record)

    def _live_stop(self, canary: Canary, kept: Kept) -> str:
        """Why live answers stop the release; empty where they do not."""
        if kept.trial is None:
            return ""
        kept.trial.look()
        if kept.trial.stop and not kept.is_stop_kept:
            kept.is_stop_kept = True
            kept.cancelled.set()
            self._keep(canary, kept)
        return kept.trial.stop

    def kept(self, canary: Canary) -> Kept | None:
        return self._kept.get(canary)

    def close(self) -> None:
        """End what runs, at the end of its round."""
        for kept in self._kept.values():
            kept.cancelled.set()
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _judged(self, canary: Canary, checksum: str) -> Kept:
        """The judgement of that revision; begun where there is none, or the last one could not be made."""
        with self._lock:
            kept = self._kept.get(canary)
            if kept is not None and kept.checksum == checksum and not _must_be_made_anew(kept):
                if kept.has_ended and not kept.is_stop_kept:
                    kept.trial, kept.has_ended, kept.copies_have_ended = self._new_trial(), False, False
                return kept
            before = kept
            if kept is not None:
                kept.cancelled.set()
            is_tried_again = before is not None and before.checksum == checksum and not before.has_ended
            trial = before.trial if before is not None and is_tried_again else self._new_trial()
            kept = self._kept[canary] = Kept(checksum, self._new(), trial)
            kept.future = self._worker.submit(self._work, canary, kept)
            # Flagger asks again; until then it learns why the last try failed.
            if before is not None and before.checksum == checksum:
                return before
            return kept

    def _work(self, canary: Canary, kept: Kept) -> None:
        def look(judgement: Judgement) -> None:
            if kept.cancelled.is_set():
                raise CancelledError

        try:
            look(kept.judgement)
            self._run(kept.judgement, look, kept.trial)
        except CancelledError:
            kept.judgement.reason = "ended: another revision is rolled out"
            return
        except UserError as err:
            kept.mistake = str(err)
            return
        except Exception as err:
            kept.mistake = f"a defect of the gate: {type(err).__name__}: {err}"
            raise
        self._keep(canary, kept)


def _must_be_made_anew(kept: Kept) -> bool:
    """It could not be made, or was ended before there was a result, and live answers gave none either."""
    has_ended = kept.future is not None and kept.future.done()
    return has_ended and not kept.judgement.is_over and not kept.is_stop_kept


def app_for(gate: Gate) -> Starlette:
    """POST /HOOK as Flagger sends it; GET /NAMESPACE/NAME: the report, with .json for programs; GET /healthz."""

    async def hook(request: Request) -> Response:
        name = request.path_params["hook"]
        if name not in HOOKS:
            return PlainTextResponse(f"no hook {name[:60]}; there are {', '.join(HOOKS)}", 404)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return PlainTextResponse(f"the body has more than {MAX_BODY} bytes", 413)
        try:
            canary, checksum = payload_of(body)
        except ValueError as err:
            return PlainTextResponse(str(err), 400)
        answer = gate.answer(name, canary, checksum)
        return PlainTextResponse(answer.text, answer.status)

    async def report(request: Request) -> Response:
        name, _, kind = request.path_params["name"].partition(".json")
        kept = gate.kept(Canary(request.path_params["namespace"], name))
        if kept is None:
            return PlainTextResponse("no judgement of that canary", 404)
        facts = kept.judgement.as_dict(kept.trial.as_dict() if kept.trial else None)
        is_json = request.path_params["name"].endswith(".json") and not kind
        return JSONResponse(facts) if is_json else HTMLResponse(html_of(facts))

    async def health(request: Request) -> Response:
        return PlainTextResponse("ok")

    return Starlette(routes=[
        Route("/healthz", health, methods=["GET"]),
        Route("/{hook}", hook, methods=["POST"]),
        Route("/{namespace}/{name}", report, methods=["GET"]),
    ])  # fmt: skip


def payload_of(body: bytes) -> tuple[Canary, str]:
    """The canary and the revision's checksum. Raises ValueError with one sentence."""
    try:
        payload: Any = json.loads(body)
    except ValueError as err:
        raise ValueError(f"the body is no JSON ({err})") from err
    if not isinstance(payload, dict):
        raise ValueError("the body is no JSON object with name, namespace, phase and checksum")
    for key in ("name", "namespace"):
        if not isinstance(payload.get(key), str) or not NAME.fullmatch(payload[key]):
            raise ValueError(f"{key} is missing, or no name of Kubernetes")
    metadata = payload.get("metadata") or {}
    checksum = payload.get("checksum") or (metadata.get("revision") if isinstance(metadata, dict) else None) or ""
    if not isinstance(checksum, str) or not CHECKSUM.fullmatch(checksum):
        raise ValueError("checksum has other characters than letters, digits, dots, hyphens and underscores")
    return Canary(payload["namespace"], payload["name"]), checksum
