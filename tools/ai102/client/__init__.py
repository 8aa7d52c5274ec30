"""Call a running Triton over HTTP or gRPC; needs numpy and tritonclient, nothing else of this repository."""

from ai102.client.aio import AsyncClient
from ai102.client.calls import ModelState
from ai102.client.client import Client
from ai102.client.errors import (
    BadAnswerError,
    BadRequestError,
    BusyError,
    DeadlineError,
    InferenceError,
    ModelNotFoundError,
    NoServerError,
    RefusedError,
    ServerFailedError,
    SharedMemoryError,
    WrongProtocolError,
)
from ai102.client.exchange import Retry
from ai102.client.inference import Label
from ai102.client.tensors import bytes_array

__all__ = [
    "AsyncClient",
    "BadAnswerError",
    "BadRequestError",
    "BusyError",
    "Client",
    "DeadlineError",
    "InferenceError",
    "Label",
    "ModelNotFoundError",
    "ModelState",
    "NoServerError",
    "RefusedError",
    "Retry",
    "ServerFailedError",
    "SharedMemoryError",
    "WrongProtocolError",
    "bytes_array",
]
