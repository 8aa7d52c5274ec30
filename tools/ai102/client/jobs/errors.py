"""The errors of jobs that no other call has, and the error for each answer of the API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ai102.client.errors import (  # fmt: skip
    BadAnswerError,
    BadRequestError,
    DeadlineError,
    InferenceError,
    NoServerError,
    WrongProtocolError,
    error_from_answer,
    seconds_from_retry_after,
)
from ai102.client.jobs.messages import Ask, JobResult, Reply


class JobRefusedError(BadRequestError):
    """The API refused one item or more of those handed in; the others are accepted.

    `refusals` has the API's sentence by position, and `position` is the first of them. `ids` has the id of each item's
    job, "" for those refused.
    """

    def __init__(self, model: str, ids: list[str], refusals: Mapping[int, str]) -> None:
        self.ids = ids
        self.refusals = dict(refusals)
        self.position = min(self.refusals)
        where = f"item {self.position} of {len(ids)}: " if len(ids) > 1 else ""
        more = f" ({len(self.refusals)} items are refused)" if len(self.refusals) > 1 else ""
        super().__init__(f"{model}: {where}{self.refusals[self.position]}{more}", "422", model)


class JobFailedError(InferenceError):
    """The job ended without outputs: `result.state` is failed, dead, cancelled or expired, `result.error` says why."""

    def __init__(self, result: JobResult) -> None:
        why = f": {result.error}" if result.error else ""
        super().__init__(f"job {result.id} is {result.state}{why}")
        self.result = result


class JobNotFoundError(InferenceError):
    """The caller has no job of that id, or it ended so long ago that it is no longer kept."""


def document_from_reply(ask: Ask, url: str, reply: Reply) -> dict[str, Any]:
    """The JSON object of an answer. Raises the InferenceError that its status stands for."""
    document = _object(reply.body)
    if 200 <= reply.status < 300:
        if document is None:
            raise BadAnswerError(f"{url}: the answer is not the API's: name the API, or the gateway before it")
        return document
    sentence = document.get("detail") if document else None
    if reply.status < 400 or (reply.status in (404, 405) and not (ask.job and sentence)):
        raise WrongProtocolError(
            f"{url}: the server takes no jobs (HTTP {reply.status}); start one with `ai102 api serve --jobs FOLDER`"
        )
    if reply.status == 404:
        raise JobNotFoundError(f"job {ask.job}: {sentence}", "404")
    # The body of a proxy's error is shown as it is, cut short.
    words = sentence or reply.body[:200].decode("utf-8", "replace").strip() or "no reason given"
    headers = {name.lower(): value for name, value in reply.headers.items()}
    raise error_from_answer(
        str(reply.status), str(words), ask.model, seconds_from_retry_after(headers.get("retry-after", ""))
    )


def refusal_from_problem(problem: Mapping[str, Any], model: str) -> str:
    """The sentence about one item of many. Raises the InferenceError for what would be said of every item alike."""
    sentence, status = str(problem.get("detail", "no reason given")), str(problem.get("status", "422"))
    if sentence.startswith("model:"):
        raise error_from_answer("404", sentence.removeprefix("model:").strip(), model)
    if status in ("401", "403"):
        raise error_from_answer(status, sentence, model)
    return sentence


def no_api(url: str, reason: str, *, was_sent: bool = False) -> NoServerError:
    err = NoServerError(f"{url}: no API answers ({reason}); start one with `ai102 api serve --jobs FOLDER`")
    err.was_sent = was_sent
    return err


def not_ended(url: str, what: str, timeout_s: float) -> DeadlineError:
    return DeadlineError(f"{url}: {what} within {timeout_s:g} s; ask again, or allow more by timeout_s")


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
