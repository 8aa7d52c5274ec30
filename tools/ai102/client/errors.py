"""The errors of a call: a class for each, with a sentence that says what to do."""

from __future__ import annotations

import errno
import os
from datetime import datetime
from email.utils import parsedate_to_datetime

from ai102.client.words import Meaning, meaning_of
from ai102.errors import UserError

# The operating system's words for ECONNREFUSED.
REFUSED = os.strerror(errno.ECONNREFUSED)


class InferenceError(UserError):
    """The server answered with an error, or did not answer.

    `status` is the server's own: "400" over HTTP, "INVALID_ARGUMENT" over gRPC, "" without answer.
    `model` is the model that was asked, empty where the call names none.
    `meaning` is set where the server's sentence is one of `words.TABLE`.
    """

    meaning: Meaning | None = None

    def __init__(self, message: str, status: str = "", model: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.model = model


class NoServerError(InferenceError):
    """Nothing listens at the address (`is_refused`), or the connection broke before the answer ended (`was_sent`)."""

    was_sent = False
    is_refused = False


class WrongProtocolError(InferenceError):
    """The server at the address speaks another protocol than the URL says, or is no Triton."""


class TlsError(InferenceError):
    """No secure connection: the client does not trust the server's certificate, or the server does not trust ours."""


class DeadlineError(InferenceError):
    """No answer within the deadline, retries included.

    `is_from_server` tells that a server or a proxy gave up before the caller's deadline was over.
    """

    is_from_server = False


class ModelNotFoundError(InferenceError):
    """The server has no such model, or has not loaded it."""


class BadRequestError(InferenceError):
    """The server refused the request; the same request will be refused again."""


class TooLargeError(BadRequestError):
    """The request is larger than the server or its gateway allows: send fewer rows at once."""


class RefusedError(InferenceError):
    """The caller may not do this: no credentials, or not these rights."""


class UnauthenticatedError(RefusedError):
    """The token is missing, expired or revoked; ask the issuer for a new one."""


class ForbiddenError(RefusedError):
    """The caller is known and lacks the right; another token will not help."""


class BusyError(InferenceError):
    """The server turned the request away for now: a full queue, a rate limit, a model that is being loaded.

    `retry_after_s` is the pause that the server asks for, None where it does not say.
    """

    retry_after_s: float | None = None


class RateLimitedError(BusyError):
    """This caller sent too many requests; others may be served."""


class ServerFailedError(InferenceError):
    """The server accepted the request and failed."""


class BadAnswerError(InferenceError):
    """The answer is cut short, is not Triton's, lacks an output, or has another number of rows."""


class SharedMemoryError(InferenceError):
    """The server refused a shared-memory region, and the caller asked for shared memory only."""


_KINDS_BY_STATUS: dict[str, type[InferenceError]] = {
    "400": BadRequestError, "INVALID_ARGUMENT": BadRequestError, "413": TooLargeError,
    "OUT_OF_RANGE": BadRequestError, "501": BadRequestError, "UNIMPLEMENTED": BadRequestError,
    "409": BadRequestError, "ALREADY_EXISTS": BadRequestError, "415": BadRequestError, "431": TooLargeError,
    "422": BadRequestError,
    "401": UnauthenticatedError, "UNAUTHENTICATED": UnauthenticatedError,
    "403": ForbiddenError, "PERMISSION_DENIED": ForbiddenError,
    "404": ModelNotFoundError, "NOT_FOUND": ModelNotFoundError,
    "429": RateLimitedError, "503": BusyError, "UNAVAILABLE": BusyError, "RESOURCE_EXHAUSTED": BusyError,
    "500": ServerFailedError, "INTERNAL": ServerFailedError, "UNKNOWN": ServerFailedError,
    "502": ServerFailedError, "504": DeadlineError, "DEADLINE_EXCEEDED": DeadlineError,
}  # fmt: skip
# One status stands for several errors. Triton answers UNAVAILABLE for restricted APIs over gRPC; do not retry those.
_KINDS_BY_MEANING: dict[Meaning, type[InferenceError]] = {
    Meaning.RESTRICTED: RefusedError,
    Meaning.NO_EXPLICIT_CONTROL: RefusedError,
    Meaning.NO_MODEL: ModelNotFoundError,
    Meaning.TOO_LARGE: TooLargeError,
    Meaning.TOO_MANY: RateLimitedError,
    Meaning.REGION_IS_REGISTERED: SharedMemoryError,
    Meaning.REGION_IS_UNKNOWN: SharedMemoryError,
    Meaning.REGION_IS_IN_USE: SharedMemoryError,
    Meaning.REGION_IS_TOO_SMALL: SharedMemoryError,
}


def error_from_answer(status: str, sentence: str, model: str, retry_after_s: float | None = None) -> InferenceError:
    """The error for a server's status and sentence; `retry_after_s` is the pause that the server asks for."""
    sentence = " ".join(sentence.split())
    meaning = meaning_of(status, sentence)
    kind = _KINDS_BY_STATUS.get(status, InferenceError)
    if meaning is not None:
        kind = _KINDS_BY_MEANING.get(meaning, kind)
    about = sentence if not model or f"'{model}'" in sentence else f"{model}: {sentence}"
    err = kind(_with_advice(kind, meaning, about, retry_after_s), status, model)
    err.meaning = meaning
    if isinstance(err, BusyError):
        err.retry_after_s = retry_after_s
    elif isinstance(err, DeadlineError):
        err.is_from_server = True
    return err


def _with_advice(
    kind: type[InferenceError], meaning: Meaning | None, sentence: str, retry_after_s: float | None
) -> str:
    trimmed = sentence.rstrip(".")
    if meaning is Meaning.NO_MODEL:
        return f"{sentence}; `ai102 models --url ...` lists the models of the server"
    if issubclass(kind, BusyError):
        when = "later" if retry_after_s is None else f"in {retry_after_s:g} s"
        return f"{trimmed.removesuffix('; try again later')}; try again {when}"
    if kind is UnauthenticatedError:
        return f"{trimmed}; get a token and give it by headers={{'authorization': 'Bearer TOKEN'}}"
    if kind is TooLargeError:
        return f"{trimmed}; send fewer rows at once, or smaller ones"
    if kind is DeadlineError:
        return f"{trimmed}; the server or a proxy stopped waiting: raise its time limit, or ask for less at once"
    return sentence


def seconds_from_retry_after(value: str) -> float | None:
    """From the header Retry-After: whole seconds, or a date (RFC 9110, 10.2.3); None for anything else."""
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        then = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (then - datetime.now(then.tzinfo)).total_seconds())


def no_server(url: str, reason: str, *, was_sent: bool = False) -> NoServerError:
    err = NoServerError(f"{url}: no Triton answers ({reason}); start one with `ai102 serve`")
    err.was_sent = was_sent
    err.is_refused = reason == REFUSED
    return err


def too_late(url: str, timeout_s: float, model: str, tried: int) -> DeadlineError:
    times = "" if tried < 2 else f" in {tried} tries"
    return DeadlineError(
        f"{url}: no answer within {timeout_s:g} s{times}; allow more by timeout_s, or ask for less at once",
        "DEADLINE_EXCEEDED",
        model,
    )


def wrong_protocol(url: str) -> WrongProtocolError:
    scheme = url.partition("://")[0]
    other = {
        "http": "grpc://, or its HTTP port (8000 by default)",
        "grpc": "http://, or its gRPC port (8001 by default)",
        "https": "grpcs://, or its HTTP port (8080 of the gateway)",
        "grpcs": "https://, or its gRPC port (8081 of the gateway)",
    }[scheme]
    speaks = "HTTP" if scheme.startswith("http") else "gRPC"
    return WrongProtocolError(f"{url}: the server does not speak {speaks}; write {other}")


def only_tls(url: str) -> WrongProtocolError:
    scheme = url.partition("://")[0]
    return WrongProtocolError(f"{url}: the server speaks TLS only; write {scheme}s://")


def no_tls(url: str) -> WrongProtocolError:
    plain = url.partition("://")[0].removesuffix("s")
    return WrongProtocolError(f"{url}: the server does not speak TLS; write {plain}://, or its port for TLS")


def no_triton(url: str, reason: str) -> WrongProtocolError:
    port = "8000 for http://, 8001 for grpc://; 8002 is for metrics alone"
    return WrongProtocolError(f"{url}: the server is no Triton ({reason}); Triton's ports are by default {port}")
