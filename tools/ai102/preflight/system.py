"""Reads processor, memory, kernel and limits from /proc and /sys; `root` is "/", or a recorded tree."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from ai102.host.cgroup import limits_of
from ai102.preflight.machine import Memory, OpenFiles, Processor

# What ONNX Runtime's INT8 kernels ask for, as Linux names it in /proc/cpuinfo (arm64: asimddp is the dot product).
INSTRUCTION_SETS = ("avx2", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
CONTAINER_FILES = (".dockerenv", "run/.containerenv")


def processor(root: Path) -> Processor:
    """The processor as this process may use it: cpusets and quotas of control groups count."""
    cpuinfo = _text(root / "proc/cpuinfo")
    facts = _first_values(cpuinfo)
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    listed = tuple(range(len(re.findall(r"^processor\b", cpuinfo, re.M))))
    cores = numbers(_text(root / "sys/devices/system/cpu/online")) or listed  # a sandbox may show no such file
    allowed = numbers(_first_values(_text(root / "proc/self/status")).get("Cpus_allowed_list", ""))
    return Processor(
        name=facts.get("model name", ""),
        architecture=platform.machine(),
        cores=len(cores),
        allowed=tuple(core for core in allowed if core in cores) or cores,
        quota=limits_of(root).cpus,
        instruction_sets=tuple(name for name in INSTRUCTION_SETS if name in flags),
        numa_nodes=numbers(_text(root / "sys/devices/system/node/online")) or (0,),
    )


def memory(root: Path) -> Memory:
    """Main memory and /dev/shm."""
    total = _first_values(_text(root / "proc/meminfo"))["MemTotal"]
    shared = root / "dev/shm"
    space = os.statvfs(shared) if shared.is_dir() else None
    return Memory(
        total_bytes=int(total.split()[0]) * 1024,
        limit_bytes=limits_of(root).memory_bytes,
        shared_bytes=space.f_frsize * space.f_blocks if space else None,
    )


def kernel(root: Path) -> str:
    """The kernel's release, such as 6.1.0-18-amd64."""
    return _text(root / "proc/sys/kernel/osrelease").strip()


def open_files(root: Path) -> OpenFiles:
    """The limits on open files that a server started from here gets."""
    line = re.search(r"^Max open files +(\S+) +(\S+)", _text(root / "proc/self/limits"), re.M)
    soft, hard = line.groups() if line else ("0", "0")
    return OpenFiles(_limit(soft), _limit(hard))


def is_container(root: Path) -> bool:
    """Whether this runs in a container of Docker, Podman or Kubernetes."""
    marks = any((root / name).exists() for name in CONTAINER_FILES)
    in_group = re.search(r"docker|kubepods|libpod", _text(root / "proc/1/cgroup"))
    return (marks or in_group is not None) and not _has_disk_of_its_own(root)


def numbers(text: str) -> tuple[int, ...]:
    """The numbers of a list as the kernel writes it: "0-3,8"."""
    spans = [part.split("-") for part in text.strip().split(",") if part]
    return tuple(number for span in spans for number in range(int(span[0]), int(span[-1]) + 1))


def _has_disk_of_its_own(root: Path) -> bool:
    """Whether "/" is the top of a disk: a virtual machine made from an image still has the image's marks."""
    for line in _text(root / "proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        if left.split()[4] == "/":
            return left.split()[3] == "/" and right.split()[1].startswith("/dev/")
    return False


def _limit(text: str) -> int:
    return (1 << 31) - 1 if text == "unlimited" else int(text)


def _first_values(text: str) -> dict[str, str]:
    """`key: value` lines; of a key that is there more than once, the first."""
    pairs = [line.partition(":")[::2] for line in text.splitlines()]
    return {key.strip(): value.strip() for key, value in reversed(pairs)}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
