"""The checks of GPUs: driver, memory, and whether containers get them."""

from __future__ import annotations

from ai102.preflight.finding import GB, Finding, dotted, gigabytes, version
from ai102.preflight.machine import Gpu, Machine
from ai102.preflight.profiles import Wanted

# By version of Triton: the driver that its container's CUDA asks for, and the older ones that do for data centre GPUs.
# From NVIDIA's release notes of the container (2.51 is 24.10, with CUDA 12.6).
DRIVERS = {"2.51": ((560,), ((470, 57), (525, 85), (535, 86), (545, 23)))}
WORKSTATION = ("GeForce", "RTX", "Quadro", "TITAN")
NOT_WANTED = "nothing"


def driver(machine: Machine, wanted: Wanted, triton: str) -> Finding:
    found = machine.gpus.driver
    if not wanted.gpu_memory_gb:
        return Finding(found or machine.gpus.trouble, NOT_WANTED, True)
    if triton not in DRIVERS:
        least = f"what NVIDIA's release notes of Triton {triton} ask for"
        return Finding(found or machine.gpus.trouble, least, found is not None, "install NVIDIA's driver")
    newest, branches = DRIVERS[triton]
    least = f"at least {dotted(newest)} for Triton {triton}"
    if found is None:
        advice = "install NVIDIA's driver and a GPU; in a container, start it with --gpus all"
        return Finding(machine.gpus.trouble, least, False, advice)
    is_workstation = any(word in gpu.name for gpu in machine.gpus.gpus for word in WORKSTATION)
    has_branch = any(version(found)[:1] == branch[:1] and version(found) >= branch for branch in branches)
    is_met = version(found) >= newest or (has_branch and not is_workstation)
    return Finding(found, least, is_met, f"install driver {dotted(newest)} or later")


def gpu_memory(machine: Machine, wanted: Wanted) -> Finding:
    """Each GPU counts: Triton puts an instance on every one unless a network names some."""
    found = "; ".join(_described(gpu) for gpu in machine.gpus.gpus) or "no GPU"
    if not wanted.gpu_memory_gb:
        return Finding(found, NOT_WANTED, True)
    least = wanted.gpu_memory_gb * GB
    is_met = bool(machine.gpus.gpus) and all((gpu.memory_bytes or least) >= least for gpu in machine.gpus.gpus)
    advice = f"use GPUs with {wanted.gpu_memory_gb} GB, or leave the small ones out by CUDA_VISIBLE_DEVICES"
    return Finding(found, f"at least {wanted.gpu_memory_gb} GB each", is_met, advice)


def gpu_in_containers(machine: Machine, wanted: Wanted) -> Finding:
    has_it = machine.docker.runs_gpus
    found = "Docker has NVIDIA's runtime" if has_it else "Docker has no runtime for GPUs"
    if not wanted.gpu_memory_gb:
        return Finding(found, NOT_WANTED, True)
    if machine.is_container or machine.docker.server is None:
        return Finding("no Docker here to ask", "NVIDIA's Container Toolkit", True)
    advice = "install nvidia-container-toolkit, run `nvidia-ctk runtime configure --runtime=docker`, restart Docker"
    return Finding(found, "NVIDIA's Container Toolkit", has_it, advice)


def _described(gpu: Gpu) -> str:
    size = "memory of the machine" if gpu.memory_bytes is None else gigabytes(gpu.memory_bytes)
    used = f", {gigabytes(gpu.used_bytes)} in use" if gpu.used_bytes and gpu.used_bytes > GB // 2 else ""
    return f"{gpu.number}: {gpu.name} {gpu.compute_capability}, {size}{used}"
