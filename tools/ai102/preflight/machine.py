"""What was found on a machine, as frozen objects; None where the machine does not say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DiskKind = Literal["NVMe", "SSD", "hard disk", "virtual disk", "network", "memory"]


@dataclass(frozen=True)
class Processor:
    """The processor, and how much of it this process may use."""

    name: str
    architecture: str
    cores: int  # logical ones, of the whole machine
    allowed: tuple[int, ...]  # by number: those that a cpuset or taskset leaves
    quota: float | None  # of control groups, in cores
    instruction_sets: tuple[str, ...]  # of those that matter here
    numa_nodes: tuple[int, ...]

    @property
    def usable(self) -> float:
        """Cores that this process can keep busy."""
        return len(self.allowed) if self.quota is None else min(len(self.allowed), self.quota)


@dataclass(frozen=True)
class Memory:
    """Main memory, the limit of control groups on it, and what shares it: /dev/shm."""

    total_bytes: int
    limit_bytes: int | None
    shared_bytes: int | None  # the size of /dev/shm; None: there is none

    @property
    def usable_bytes(self) -> int:
        return self.total_bytes if self.limit_bytes is None else min(self.total_bytes, self.limit_bytes)


@dataclass(frozen=True)
class OpenFiles:
    """How many files a process may open, and how far it may raise that itself."""

    soft: int
    hard: int


@dataclass(frozen=True)
class Speed:
    """A short measurement of a disk: large blocks in order, and small writes that wait for the disk."""

    write_mb_s: float
    read_mb_s: float
    sync_ms: float  # 99 of 100 small writes reach the disk within this
    is_direct: bool  # False: the system's cache was in between, and reads say little


@dataclass(frozen=True)
class Disk:
    """The disk under a folder."""

    folder: str
    kind: DiskKind | None
    free_bytes: int
    speed: Speed | None
    trouble: str  # why it was not measured


@dataclass(frozen=True)
class Docker:
    """Docker's versions; None for what is not there or does not answer."""

    client: str | None
    server: str | None
    compose: str | None
    runs_gpus: bool  # a container can be given a GPU
    trouble: str  # why the server does not answer


@dataclass(frozen=True)
class Kubernetes:
    """Kubernetes' versions; None for what is not there or does not answer."""

    client: str | None
    server: str | None
    trouble: str


@dataclass(frozen=True)
class Gpu:
    """One GPU, as nvidia-smi describes it."""

    number: int
    name: str
    compute_capability: str
    memory_bytes: int | None
    used_bytes: int | None


@dataclass(frozen=True)
class Gpus:
    """NVIDIA's driver and its GPUs."""

    driver: str | None
    gpus: tuple[Gpu, ...]
    trouble: str  # why there is none


@dataclass(frozen=True)
class Machine:
    """All that the checks look at."""

    is_container: bool
    kernel: str
    processor: Processor
    memory: Memory
    open_files: OpenFiles
    disk: Disk
    docker: Docker
    kubernetes: Kubernetes
    gpus: Gpus
