"""The table [server] of models.toml as settings of a container that runs tritonserver: what no flag can say."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ai102.contract import Contract
from ai102.serve.arguments import MB, server_arguments
from ai102.serve.server import AFTER_EXIT_TIMEOUT_S, EXIT_TIMEOUT_S

# tritonserver ends at its own time-out; its start script and the runtime need a moment too.
GRACE_S = AFTER_EXIT_TIMEOUT_S + 5


class ContainerSettings(NamedTuple):
    """What Docker, Compose or Kubernetes must set."""

    shm_size_bytes: int | None  # of /dev/shm; None: the contract leaves it to the runtime
    ipc: Literal["private", "host"]
    pid: Literal["private", "host"]
    grace_s: int  # between TERM and KILL


def container_settings(contract: Contract) -> ContainerSettings:
    """The shared memory of a server's container, and what it shares with clients on the machine.

    CUDA compares the process ids of both ends of a handle, so the container then needs the machine's.
    """
    shared = contract.server.shared_memory
    return ContainerSettings(
        None if shared.size_mb is None else shared.size_mb * MB,
        "private" if shared.clients == "none" else "host",
        "host" if shared.clients == "cuda" else "private",
        (contract.server.exit_timeout_s or EXIT_TIMEOUT_S) + GRACE_S,
    )


def compose_values(contract: Contract, shm_size: str) -> dict[str, str]:
    """What a compose.yaml takes from .env for its servers; `shm_size` where the contract has none, such as "256m".

    Compose has no word for the default of `pid`: the value is then empty.
    """
    settings = container_settings(contract)
    return {
        "AI102_TRITON_ARGUMENTS": " ".join(server_arguments(contract)),
        "AI102_TRITON_SHM_SIZE": shm_size if settings.shm_size_bytes is None else f"{settings.shm_size_bytes}b",
        "AI102_TRITON_IPC": settings.ipc,
        "AI102_TRITON_PID": "" if settings.pid == "private" else settings.pid,
        "AI102_TRITON_GRACE": f"{settings.grace_s}s",
    }
