"""The kinds of CPU that a model may need a choice of its own for."""

import platform
from pathlib import Path
from typing import Literal

Cpu = Literal["x86-vnni", "x86", "arm"]


def this_cpu() -> Cpu:
    """The kind of CPU this runs on; x86 counts as without VNNI where the system does not tell."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return "arm"
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text(encoding="utf-8").split() if cpuinfo.is_file() else []
    return "x86-vnni" if {"avx512_vnni", "avx_vnni"} & set(flags) else "x86"
