"""What can go wrong between a caller and a Triton, each with a class of its own and a sentence that says what to do."""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime

from ai102.errors import UserError


class InferenceError(UserError):
    """The server answered with an error, or did not answer.

    `status` is the server's own word for it: "400" over HTTP, "INVALID_ARGUMENT" over gRPC, "" without answer.
    `model` is the model asked for, empty where it was none.
    """

    def __init__(self, message: str, status: str = "", model: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.model = model


class NoServerError(InferenceError):
    """Nothing listens at the address, or the connection broke before the answer was whole (`was_sent`)."""

    was_sent = False


class WrongProtocolError(InferenceError):
    """What listens at the address speaks another protocol than the URL says, or is no Triton."""


class TlsError(InferenceError):
    """No secure connection: the server's certificate is not to be trusted, or the server does not trust ours."""


class DeadlineError(InferenceError):
    """No answer within the deadline, retries included."""


class ModelNotFoundError(InferenceError):
    """The server has no such model, or has not loaded it."""


class BadRequestError(InferenceError):
    """The server refused what was sent; sending it again will not help."""


class TooLargeError(BadRequestError):
    """The request is larger than the server, or the door before it, takes: send fewer rows at once."""


class RefusedError(InferenceError):
    """The caller may not do this: no credentials, or not these rights."""


class UnauthenticatedError(RefusedError):
    """Nobody knows who asks: the token is missing, expired or revoked; ask the issuer for a new one."""


class ForbiddenError(RefusedError):
    """It is known who asks, and that one may not do this; another token will not help."""


class BusyError(InferenceError):
    """The server turned the request away for now: a full queue, a rate limit, a model that is being loaded.

    `retry_after_s` is when the server wants to be asked again, None where it did not say.
    """

    retry_after_s: float | None = None


class RateLimitedError(BusyError):
    """This caller asked too often of late; others may be served."""


class ServerFailedError(InferenceError):
    """The server could not do what it accepted."""


class BadAnswerError(InferenceError):
    """The answer is not what was asked for: cut short, no Triton's, an output missing, or another number of rows."""


class SharedMemoryError(InferenceError):
    """The server refused shared memory that the caller insisted on."""


# By the server's word, over HTTP and over gRPC.
_KINDS: dict[str, type[InferenceError]] = {
    "400": BadRequestError, "INVALID_ARGUMENT": BadRequestError, "413": TooLargeError,
    "OUT_OF_RANGE": BadRequestError, "501": BadRequestError, "UNIMPLEMENTED": BadRequestError,
    "409": BadRequestError, "ALREADY_EXISTS": BadRequestError, "415": BadRequestError, "431": TooLargeError,
    "401": UnauthenticatedError, "UNAUTHENTICATED": UnauthenticatedError,
    "403": ForbiddenError, "PERMISSION_DENIED": ForbiddenError,
    "404": ModelNotFoundError, "NOT_FOUND": ModelNotFoundError,
    "429": RateLimitedError, "503": BusyError, "UNAVAILABLE": BusyError, "RESOURCE_EXHAUSTED": BusyError,
    "500": ServerFailedError, "INTERNAL": ServerFailedError, "UNKNOWN": ServerFailedError,
    "502": ServerFailedError, "504": DeadlineError, "DEADLINE_EXCEEDED": DeadlineError,
}  # fmt: skip


# gRPC has one word for what is too large and for what comes too often: Triton, our door and gRPC itself say it so.
_TOO_LARGE = ("larger than", "too large", "exceeds the limit")


def error_from_answer(status: str, sentence: str, model: str, retry_after_s: float | None = None) -> InferenceError:
    """The error that the server's status and sentence stand for; `retry_after_s` is what it said beside them."""
    words = sentence if not model or f"'{model}'" in sentence else f"{model}: {sentence}"
    kind = _KINDS.get(status, InferenceError)
    if status == "RESOURCE_EXHAUSTED":
        if any(phrase in sentence for phrase in _TOO_LARGE):
            kind = TooLargeError
        elif "Too many requests" in sentence:
            kind = RateLimitedError
    # Over gRPC Triton says UNAVAILABLE for what is not for everyone, which is no reason to come back later.
    if ("is restricted" in sentence or "is not allowed" in sentence) and not issubclass(kind, RefusedError):
        return RefusedError(words, status, model)
    # Triton says 400 and UNAVAILABLE for a model it does not have, depending on the protocol.
    if "unknown model" in sentence or "is not found" in sentence:
        kind = ModelNotFoundError
        words += "; `ai102 models --url ...` lists those that are there"
    elif issubclass(kind, BusyError):
        when = "later" if retry_after_s is None else f"in {retry_after_s:g} s"
        words = f"{words.rstrip('.').removesuffix('; try again later')}; try again {when}"
    elif kind is UnauthenticatedError:
        words = f"{words.rstrip('.')}; get a token and give it by headers={{'authorization': 'Bearer TOKEN'}}"
    elif kind is TooLargeError:
        words = f"{words.rstrip('.')}; send fewer rows at once, or smaller ones"
    err = kind(words, status, model)
    if isinstance(err, BusyError):
        err.retry_after_s = retry_after_s
    return err


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
        "https": "grpcs://, or its HTTP port (8080 of the door)",
        "grpcs": "https://, or its gRPC port (8081 of the door)",
    }[scheme]
    speaks = "HTTP" if scheme.startswith("http") else "gRPC"
    return WrongProtocolError(f"{url}: what listens there does not speak {speaks}; write {other}")


def only_tls(url: str) -> WrongProtocolError:
    scheme = url.partition("://")[0]
    return WrongProtocolError(f"{url}: what listens there speaks TLS alone; write {scheme}s://")


def no_tls(url: str) -> WrongProtocolError:
    plain = url.partition("://")[0].removesuffix("s")
    return WrongProtocolError(f"{url}: what listens there does not speak TLS; write {plain}://, or its port for TLS")


def no_triton(url: str, reason: str) -> WrongProtocolError:
    port = "8000 for http://, 8001 for grpc://; 8002 is for metrics alone"
    return WrongProtocolError(f"{url}: what listens there is no Triton ({reason}); its ports are by default {port}")
