"""Call a running Triton over HTTP or gRPC; needs numpy and tritonclient, nothing else of this repository.

JobClient asks the HTTP API instead, and needs httpx.
"""

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
from ai102.client.jobs.aio import AsyncJobClient
from ai102.client.jobs.client import JobClient
from ai102.client.jobs.errors import JobFailedError, JobNotFoundError, JobRefusedError
from ai102.client.jobs.messages import JobResult, JobStatus
from ai102.client.tensors import bytes_array
from ai102.client.tls import Tls

__all__ = [
    "AsyncClient",
    "AsyncJobClient",
    "BadAnswerError",
    "BadRequestError",
    "BusyError",
    "Client",
    "DeadlineError",
    "ForbiddenError",
    "InferenceError",
    "JobClient",
    "JobFailedError",
    "JobNotFoundError",
    "JobRefusedError",
    "JobResult",
    "JobStatus",
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
