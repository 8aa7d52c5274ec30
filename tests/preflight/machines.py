"""Machines for the tests of the checks: one that is fit for everything, and changes to it."""

from dataclasses import replace
from typing import Any

from ai102.preflight.machine import (
    Disk,
    Docker,
    Gpu,
    Gpus,
    Kubernetes,
    Machine,
    Memory,
    OpenFiles,
    Processor,
    Speed,
)

GIB = 1 << 30
NO_GPUS = Gpus(None, (), "no nvidia-smi on PATH")
FIT = Machine(
    is_container=False,
    kernel="6.1.0-18-amd64",
    processor=Processor("Some CPU", "x86_64", 16, tuple(range(16)), None, ("avx2", "avx512_vnni"), (0, 1)),
    memory=Memory(64 * GIB, None, 32 * GIB),
    open_files=OpenFiles(1048576, 1048576),
    disk=Disk("/srv", "NVMe", 500 * 10**9, Speed(1200.0, 2500.0, 0.8, True), ""),
    docker=Docker("28.2.2", "28.2.2", "2.40.3", True, ""),
    kubernetes=Kubernetes("v1.36.1", "v1.36.3", ""),
    gpus=Gpus("560.35.03", (Gpu(0, "NVIDIA A10", "8.6", 24 * GIB, 0), Gpu(1, "NVIDIA A10", "8.6", 24 * GIB, 0)), ""),
)


def machine(part: str, /, **changes: Any) -> Machine:
    """The fit machine with changes to one of its parts; "machine" changes the machine itself."""
    if part == "machine":
        return replace(FIT, **changes)
    return replace(FIT, **{part: replace(getattr(FIT, part), **changes)})
