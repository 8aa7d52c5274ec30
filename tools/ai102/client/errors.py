"""What can go wrong between a caller and a Triton, each with a class of its own and a sentence that says what to do."""

from __future__ import annotations

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


class DeadlineError(InferenceError):
    """No answer within the deadline, retries included."""


class ModelNotFoundError(InferenceError):
    """The server has no such model, or has not loaded it."""


class BadRequestError(InferenceError):
    """The server refused what was sent; sending it again will not help."""


class RefusedError(InferenceError):
    """The caller may not do this: no credentials, or not these rights."""


class BusyError(InferenceError):
    """The server turned the request away for now: a full queue, a rate limit, a model that is being loaded."""


class ServerFailedError(InferenceError):
    """The server could not do what it accepted."""


class BadAnswerError(InferenceError):
    """The answer is not what was asked for: cut short, no Triton's, an output missing, or another number of rows."""


class SharedMemoryError(InferenceError):
    """The server refused shared memory that the caller insisted on."""


# By the server's word, over HTTP and over gRPC.
_KINDS: dict[str, type[InferenceError]] = {
    "400": BadRequestError, "INVALID_ARGUMENT": BadRequestError, "413": BadRequestError,
    "OUT_OF_RANGE": BadRequestError, "501": BadRequestError, "UNIMPLEMENTED": BadRequestError,
    "409": BadRequestError, "ALREADY_EXISTS": BadRequestError,
    "401": RefusedError, "403": RefusedError, "UNAUTHENTICATED": RefusedError, "PERMISSION_DENIED": RefusedError,
    "404": ModelNotFoundError, "NOT_FOUND": ModelNotFoundError,
    "429": BusyError, "503": BusyError, "UNAVAILABLE": BusyError, "RESOURCE_EXHAUSTED": BusyError,
    "500": ServerFailedError, "INTERNAL": ServerFailedError, "UNKNOWN": ServerFailedError,
    "502": ServerFailedError, "504": DeadlineError, "DEADLINE_EXCEEDED": DeadlineError,
}  # fmt: skip


def error_from_answer(status: str, sentence: str, model: str) -> InferenceError:
    """The error that the server's status and sentence stand for."""
    words = sentence if not model or f"'{model}'" in sentence else f"{model}: {sentence}"
    kind = _KINDS.get(status, InferenceError)
    # Over gRPC Triton says UNAVAILABLE for what is not for everyone, which is no reason to come back later.
    if "is restricted" in sentence or "is not allowed" in sentence:
        return RefusedError(words, status, model)
    # Triton says 400 and UNAVAILABLE for a model it does not have, depending on the protocol.
    if "unknown model" in sentence or "is not found" in sentence:
        kind = ModelNotFoundError
        words += "; `ai102 models --url ...` lists those that are there"
    elif kind is BusyError:
        words += "; try again later"
    return kind(words, status, model)


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
    is_http = url.startswith("http")
    other = "grpc://, or its HTTP port (8000 by default)" if is_http else "http://, or its gRPC port (8001 by default)"
    return WrongProtocolError(
        f"{url}: what listens there does not speak {'HTTP' if is_http else 'gRPC'}; write {other}"
    )


def no_triton(url: str, reason: str) -> WrongProtocolError:
    port = "8000 for http://, 8001 for grpc://; 8002 is for metrics alone"
    return WrongProtocolError(f"{url}: what listens there is no Triton ({reason}); its ports are by default {port}")
