"""Errors as RFC 9457 problem details: a table of kinds, and which kind each error of the client is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ai102.client import BadRequestError, BusyError, DeadlineError, InferenceError, ModelNotFoundError, NoServerError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1


class Kind(NamedTuple):
    """One type of problem: its status, its title, and an example of the sentence that goes with it."""

    status: int
    title: str
    example: str


KINDS: Mapping[str, Kind] = {
    "malformed": Kind(400, "Malformed request", "The body is not valid JSON."),
    "forbidden": Kind(403, "Not allowed", "You may not ask classify_image."),
    "not-found": Kind(404, "Not found", "There is nothing at this address."),
    "method-not-allowed": Kind(405, "Method not allowed", "This address takes POST."),
    "upload-timeout": Kind(408, "Upload too slow", "The body stopped for more than 5 s."),
    "too-large": Kind(413, "Too large", "The file is larger than 8388608 bytes."),
    "unsupported-type": Kind(415, "Unsupported type", "Each file must be a PNG or JPEG image."),
    "invalid": Kind(422, "Not valid", "text is missing: send text, or a list texts."),
    "key-used": Kind(422, "Key used before", "The key belongs to an earlier job with another input."),
    "bad-image": Kind(
        422, "Unreadable image", "The PNG image of 100 bytes is truncated or corrupt: send the whole file."
    ),
    "queue-full": Kind(429, "Queue full", "1000000 of your jobs are waiting: hand in more when some are done."),
    "failed": Kind(500, "Internal error", "Something went wrong here; the request id finds it in the log."),
    "bad-answer": Kind(502, "Model server failed", "The model server could not answer this request."),
    "busy": Kind(503, "Too busy", "Too many requests are waiting: try again in a moment."),
    "unavailable": Kind(503, "Not available", "The model server does not answer: try again in a moment."),
    "deadline": Kind(504, "Too late", "There was no answer within 10 s."),
}
# What our Triton models say of a bad item. Only these sentences reach a caller: Triton's own name what is inside.
_SAID = re.compile(
    r"((?:image|text) (?P<position>\d+) of (?P<count>\d+): )?"
    r"(?P<sentence>(?:the image |the text |these \d+ bytes |the (?:PNG|JPEG) image ).*)$"
)


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """Raised anywhere while a request is handled; becomes the answer."""

    def __init__(self, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more
        if KINDS[kind].status in (429, 503):
            self.headers["Retry-After"] = str(RETRY_AFTER_S)

    @property
    def status(self) -> int:
        return KINDS[self.kind].status

    def body(self, request_id: str) -> dict[str, Any]:
        """The members of RFC 9457, the request id, and what else the problem tells."""
        return {
            "type": f"/docs#{self.kind}",
            "title": KINDS[self.kind].title,
            "status": self.status,
            "detail": self.detail,
            "instance": f"/requests/{request_id}",
            "request_id": request_id,
            **self.more,
        }


def example_of(kind: str) -> dict[str, Any]:
    """A whole problem of that kind, for the documentation."""
    return Problem(kind, KINDS[kind].example).body("5f0c6d2e8a1b4c3d")


def problem_from_error(err: InferenceError, deadline_s: float, filenames: tuple[str, ...] = ()) -> Problem:
    """The answer to a client's error; `filenames` are those of the images sent, in order."""
    match err:
        case BadRequestError():
            return _refused(err, filenames)
        case DeadlineError():
            return too_late(deadline_s)
        case BusyError():
            return Problem("busy", "The model server has too much to do: try again in a moment.")
        case NoServerError():
            return Problem("unavailable", "The model server does not answer: try again in a moment.")
        case ModelNotFoundError():
            return Problem("unavailable", "The model is not loaded: try again in a moment.")
        case _:
            return Problem("bad-answer", "The model server could not answer this request.")


def too_late(deadline_s: float) -> Problem:
    return Problem("deadline", f"There was no answer within {deadline_s:g} s: send less at once, or try again later.")


def _refused(err: BadRequestError, filenames: tuple[str, ...]) -> Problem:
    said = _SAID.search(str(err))
    kind = "bad-image" if filenames else "invalid"
    if said is None:
        return Problem(kind, "The model refused the input.")
    sentence = said["sentence"]
    detail = sentence[0].upper() + sentence[1:].rstrip(".") + "."
    # A batch that was split counts its own images.
    if filenames and int(said["count"] or 1) == len(filenames):
        position = int(said["position"] or 1)
        return Problem(kind, detail, position=position, filename=filenames[position - 1])
    return Problem(kind, detail)
