"""What each profile asks of a machine: numbers with their reasons, and which of the checks decide."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Profile = Literal["dev", "production", "gpu"]


@dataclass(frozen=True)
class Wanted:
    """What is wanted; a check that is not in `required` is told and decides nothing.

    GB are 10^9 bytes: a machine sold with 32 GB has 34.4 of them and, since the kernel keeps some, shows about 33.7.
    """

    cores: int
    memory_gb: int
    disk_gb: int  # free
    write_mb_s: int
    read_mb_s: int
    sync_ms: int
    kernel: tuple[int, int]
    shared_memory_mb: int
    open_files: int
    gpu_memory_gb: int  # 0: no GPU is wanted
    required: frozenset[str]


DEV = Wanted(
    cores=4,
    memory_gb=16,
    disk_gb=10,  # .venv 2.4 GB, builds, images and the cache of third-party parts
    write_mb_s=100,
    read_mb_s=100,
    sync_ms=50,
    kernel=(4, 18),  # the oldest that a supported distribution has (RHEL 8)
    shared_memory_mb=256,  # Docker gives a container 64 MB
    open_files=1024,
    gpu_memory_gb=0,
    # The last three: tritonserver, or a model, would not start.
    required=frozenset(
        {"cores", "memory", "kernel", "shared memory", "disk space", "response cache", "Python models", "host policies"}
    ),
)
PRODUCTION = replace(
    DEV,
    cores=8,
    memory_gb=32,
    disk_gb=50,  # two releases of each image, models with their older versions, 14 days of logs
    write_mb_s=300,  # NVMe, also a small or shared one; a SATA disk writes about 450 and a hard disk 150
    read_mb_s=600,  # more than SATA carries (about 550)
    sync_ms=10,  # what etcd wants of 99 in 100 syncs
    kernel=(5, 8),  # cgroup v2 as Kubernetes wants it
    shared_memory_mb=1024,
    open_files=65536,  # a connection is a file on both sides of the gateway
    required=DEV.required | {"AVX2", "open files", "disk speed", "container engine"},
)
GPU = replace(
    PRODUCTION,
    disk_gb=80,  # NVIDIA's images, with CUDA and TensorRT, are many GB each
    gpu_memory_gb=8,
    required=PRODUCTION.required
    | {"NVIDIA driver", "GPU memory", "GPU in containers", "pinned pool", "GPU pools", "compute capability"},
)
PROFILES: dict[Profile, Wanted] = {"dev": DEV, "production": PRODUCTION, "gpu": GPU}
