"""The kinds of CPU that a model may need a file or a choice of its own for."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ai102_runtime.engine.signature import ModelRefusedError

Cpu = Literal["x86-vnni", "x86", "arm"]
# By kind: whose INT8 files it computes to the values that they were judged by. A file for x86 has weights of 7 bits,
# with which no sum of 16 bits overflows, so that VNNI, whose sums have 32 bits, gives the same.
COMPUTES: Mapping[Cpu, tuple[Cpu, ...]] = {"x86-vnni": ("x86-vnni", "x86"), "x86": ("x86",), "arm": ("arm",)}
VARIABLE = "AI102_CPU_KIND"


def this_cpu() -> Cpu:
    """The kind of CPU this runs on; x86 counts as without VNNI where the system does not tell."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return "arm"
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text(encoding="utf-8").split() if cpuinfo.is_file() else []
    return "x86-vnni" if {"avx512_vnni", "avx_vnni"} & set(flags) else "x86"


def served_cpu(environ: Mapping[str, str] = os.environ) -> Cpu:
    """The kind of CPU whose files are served here: this one, or the one that AI102_CPU_KIND names.

    With it, servers on different CPUs give the same answers. Raises ModelRefusedError for a kind whose files this CPU
    computes to other values.
    """
    cpu = this_cpu()
    named = environ.get(VARIABLE) or cpu
    for kind in COMPUTES[cpu]:
        if kind == named:
            return kind
    raise ModelRefusedError(f"{VARIABLE} is {named!r}: this CPU computes files for {' and '.join(COMPUTES[cpu])}")
