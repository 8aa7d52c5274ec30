"""Call a running Triton over HTTP or gRPC; needs numpy and tritonclient, nothing else of this repository."""

from ai102.client.aio import AsyncClient
from ai102.client.calls import ModelState
from ai102.client.client import Client
from ai102.client.errors import (
    BadAnswerError,
    BadRequestError,
    BusyError,
    DeadlineError,
    ForbiddenError,
    InferenceError,
    ModelNotFoundError,
    NoServerError,
    RateLimitedError,
    RefusedError,
    ServerFailedError,
    SharedMemoryError,
    TlsError,
    TooLargeError,
    UnauthenticatedError,
    WrongProtocolError,
)
from ai102.client.exchange import Retry
from ai102.client.inference import Label
from ai102.client.tensors import bytes_array
from ai102.client.tls import Tls

__all__ = [
    "AsyncClient",
    "BadAnswerError",
    "BadRequestError",
    "BusyError",
    "Client",
    "DeadlineError",
    "ForbiddenError",
    "InferenceError",
    "Label",
    "ModelNotFoundError",
    "ModelState",
    "NoServerError",
    "RateLimitedError",
    "RefusedError",
    "Retry",
    "ServerFailedError",
    "SharedMemoryError",
    "Tls",
    "TlsError",
    "TooLargeError",
    "UnauthenticatedError",
    "WrongProtocolError",
    "bytes_array",
]
