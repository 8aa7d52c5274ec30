"""Builds a plan on this machine's GPU, runs it, compares it with ONNX Runtime, counts its INT8 layers, times it.

Written from TensorRT's documentation and its bindings; it has not run on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai102.contract import Network
from ai102.errors import UserError
from ai102.progress import Progress
from ai102.tensorrt import build
from ai102.tensorrt.gpu import Machine, pick_target, tensorrt_module, this_machine
from ai102.tensorrt.layers import nodes_in_int8, nodes_meant_for_int8
from ai102.tensorrt.run import LoadedPlan

# Both compute the same graph; differences come from the order of sums, FP16, and rounding to the next step.
MIN_COSINE = 0.99
_REPEATS = 200


@dataclass(frozen=True)
class Verification:
    """The measurements. Cosines compare the plan's and ONNX Runtime's outputs for the same sample."""

    machine: Machine
    min_cosine: float
    max_abs_difference: float
    meant_for_int8: tuple[str, ...]
    not_in_int8: tuple[str, ...]
    batch: int
    median_ms: float
    p99_ms: float

    @property
    def passed(self) -> bool:
        return self.min_cosine >= MIN_COSINE and not self.not_in_int8

    def lines(self) -> list[str]:
        """The report, one fact per line."""
        here, int8 = self.machine, len(self.meant_for_int8) - len(self.not_in_int8)
        return [
            f"{here.gpu} (compute capability {here.compute_capability}, driver {here.driver}), "
            f"TensorRT {here.tensorrt}",
            f"smallest cosine to ONNX Runtime {self.min_cosine:.5f} (required {MIN_COSINE}), "
            f"largest difference {self.max_abs_difference:.2e}",
            f"INT8 layers {int8} of {len(self.meant_for_int8)}"
            + (f"; in float: {', '.join(self.not_in_int8)}" if self.not_in_int8 else ""),
            f"batch of {self.batch}: median {self.median_ms:.3f} ms, p99 {self.p99_ms:.3f} ms, "
            f"{1000 * self.batch / self.median_ms:.0f}/s, without copies",
        ]


def verify(
    name: str,
    network: Network,
    onnx_file: Path,
    inputs: Mapping[str, NDArray[Any]],
    folder: Path,
    progress: Progress = lambda done, total: None,
) -> Verification:
    """Build `onnx_file`, the graph with Q/DQ pairs, into `folder` and run one batch of `inputs` through it.

    Raises UserError, in one line, where there is no GPU, no TensorRT or no cuda-python.
    """
    machine = this_machine()
    trt, cuda = needed(machine)
    build.install(trt, name, onnx_file, network, folder, machine, progress=progress)
    output = network.outputs[0].name
    with LoadedPlan(trt, cuda, folder / "model.plan") as plan:
        answer = plan.run(inputs)[output]
        seconds = plan.seconds(inputs, _REPEATS)
        layers = plan.layers()
    reference = reference_output(onnx_file, inputs, output)
    meant = nodes_meant_for_int8(onnx_file)
    in_int8 = nodes_in_int8(layers, meant)
    return Verification(
        machine=machine,
        min_cosine=smallest_cosine(reference, answer),
        max_abs_difference=float(np.abs(reference - answer).max()),
        meant_for_int8=meant,
        not_in_int8=tuple(node for node in meant if node not in in_int8),
        batch=len(answer),
        median_ms=1000 * median(seconds),
        p99_ms=1000 * quantiles(seconds, n=100)[98],
    )


def reference_output(onnx_file: Path, inputs: Mapping[str, NDArray[Any]], output: str) -> NDArray[Any]:
    """ONNX Runtime's output on the CPU without graph optimization, so that it computes the Q/DQ pairs exactly."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(onnx_file, options, providers=["CPUExecutionProvider"])
    answer: NDArray[Any] = session.run([output], dict(inputs))[0]
    return answer


def smallest_cosine(reference: NDArray[Any], answer: NDArray[Any]) -> float:
    """Between rows of two arrays [samples, width]; NaN when one holds NaN."""
    a, b = reference.astype(np.float64), answer.astype(np.float64)
    return float(((a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))).min())


def needed(machine: Machine) -> tuple[Any, Any]:
    """The modules tensorrt and cuda.bindings.runtime. Raises UserError, in one line, when one is missing."""
    if pick_target(machine) != "tensorrt":
        missing = [
            what
            for what, has in (("GPU (nvidia-smi)", machine.compute_capability), ("TensorRT", machine.tensorrt))
            if not has
        ]
        raise UserError(f"verify-gpu: no {' and no '.join(missing)} here; run it on a machine with both")
    try:
        from cuda.bindings import runtime
    except ImportError as err:
        raise UserError("verify-gpu: cuda-python is missing; pip install 'tritonclient[all]' brings it") from err
    return tensorrt_module(), runtime
