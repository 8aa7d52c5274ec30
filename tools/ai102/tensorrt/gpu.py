"""The TensorRT version and the GPU of this machine."""

from __future__ import annotations

import importlib
import subprocess
from dataclasses import dataclass
from typing import Any, Literal

Target = Literal["tensorrt", "onnxruntime"]


@dataclass(frozen=True)
class Machine:
    """A machine's TensorRT and first GPU; None where there is none, or where it is unknown."""

    tensorrt: str | None = None  # version
    compute_capability: str | None = None  # of the first GPU, such as "9.0"
    gpu: str | None = None
    driver: str | None = None


def this_machine() -> Machine:
    trt = tensorrt_module()
    name, capability, driver = first_gpu() or (None, None, None)
    return Machine(None if trt is None else str(trt.__version__), capability, name, driver)


def pick_target(machine: Machine) -> Target:
    """TensorRT if it and a GPU are present, ONNX Runtime otherwise."""
    return "tensorrt" if machine.tensorrt and machine.compute_capability else "onnxruntime"


def tensorrt_module() -> Any | None:
    """NVIDIA's module `tensorrt`; None if it is not installed or its libraries are missing."""
    try:
        return importlib.import_module("tensorrt")
    except ImportError:  # a wheel of bindings without libraries raises it too
        return None


def first_gpu() -> tuple[str, str, str] | None:
    """(name, compute capability, driver) from nvidia-smi; None if it is missing or reports no GPU."""
    query = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        return None
    return gpu_from_query(done.stdout) if done.returncode == 0 else None


def gpu_from_query(text: str) -> tuple[str, str, str] | None:
    """The first line of nvidia-smi's answer: `NVIDIA H200, 9.0, 580.65.06`."""
    line = next(iter(text.splitlines()), "")
    parts = [part.strip() for part in line.rsplit(",", 2)]
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else None
