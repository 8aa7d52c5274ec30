"""The engines that can compute a network on a CPU, on the same inputs: how long each takes, and which one to serve."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ai102.contract import Network, Precision
from ai102.errors import UserError
from ai102.int8.judge import Run, session_run
from ai102_runtime.engine.record import EngineName
from ai102_runtime.engine.signature import ModelRefusedError

TITLES: Mapping[EngineName, str] = {
    "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "openvino-bf16": "OpenVINO BF16",
}  # fmt: skip
ROUNDS = 5
# Below this, a round is several calls: a clock and a scheduler have their grain.
MIN_ROUND_S = 0.005
# A shape whose single call takes longer is left out: its time is that of a shorter one, times the size.
MAX_CALL_S = 0.5
# An engine other than ONNX Runtime is served where it is faster by more than this: less is a busy machine's noise.
CLEARLY_FASTER = 1.03

Tensors = dict[str, NDArray[Any]]


class Candidate(NamedTuple):
    """An engine, and which of the network's files it computes."""

    engine: EngineName
    precision: Precision

    def __str__(self) -> str:
        return TITLES[self.engine] if self.is_bf16 else f"{TITLES[self.engine]} {self.precision.upper()}"

    @property
    def is_bf16(self) -> bool:
        return self.engine == "openvino-bf16"

    @property
    def library(self) -> str:
        """As the contract's key `engine` names it."""
        return self.engine.removesuffix("-bf16")


def has_bf16() -> bool:
    """Whether OpenVINO computes bf16 by this CPU's own instructions."""
    try:
        from ai102_runtime.openvino.library import ov
    except ModelRefusedError:
        return False
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def run_of(candidate: Candidate, onnx_file: Path, network: Network, *, threads: int = 0) -> Run:
    """A Run of the file by the candidate's engine. Raises UserError as `openvino_run` does."""
    if candidate.engine == "onnxruntime":
        return session_run(onnx_file, network, threads=threads)
    return openvino_run(onnx_file, network, threads=threads, is_bf16=candidate.is_bf16)


def openvino_run(onnx_file: Path, network: Network, *, threads: int = 0, is_bf16: bool = False) -> Run:
    """A Run by OpenVINO as the server runs it; `threads` 0: as many as there are cores.

    Raises UserError where OpenVINO is not installed or does not take the file.
    """
    parameters = {"INFERENCE_NUM_THREADS": {"string_value": str(threads)}}
    config = {"parameters": parameters | ({"HINT_BF16": {"string_value": "YES"}} if is_bf16 else {})}
    try:
        from ai102_runtime.openvino.engine import compiled

        engine = compiled(onnx_file, config)
    except ModelRefusedError as err:
        raise UserError(str(err)) from None
    output = [network.outputs[0].name]

    def run(tensors: Tensors) -> NDArray[np.float32]:
        return engine.run(output, tensors)[0]

    return run


def milliseconds(
    runs: Mapping[Candidate, Run],
    shapes: Iterator[tuple[str, Tensors]],
    *,
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Candidate, dict[str, float]]:
    """The median time of a call, by candidate and shape, measured in turns so that a busy machine slows all of them.

    A shape that one of them needs over MAX_CALL_S for is left out, unless there would be none.
    """
    medians: dict[Candidate, dict[str, float]] = {candidate: {} for candidate in runs}
    for title, tensors in shapes:
        first = {candidate: _seconds(run, tensors, 2, clock) for candidate, run in runs.items()}
        if max(first.values()) > MAX_CALL_S and all(medians.values()):
            continue
        calls = {candidate: min(1000, max(1, round(MIN_ROUND_S / max(one, 1e-9)))) for candidate, one in first.items()}
        times: dict[Candidate, list[float]] = {candidate: [] for candidate in runs}
        for turn in range(rounds):
            for candidate in sorted(runs, reverse=turn % 2 == 1):
                times[candidate].append(_seconds(runs[candidate], tensors, calls[candidate], clock))
        for candidate, measured in times.items():
            medians[candidate][title] = float(f"{np.median(measured) * 1000:.4g}")
    return medians


def _seconds(run: Run, tensors: Tensors, calls: int, clock: Callable[[], float]) -> float:
    """Of one call, over `calls` of them."""
    began = clock()
    for _ in range(calls):
        run(tensors)
    return (clock() - began) / calls


def speeds(times: Mapping[Candidate, Mapping[str, float]], than: Candidate) -> dict[Candidate, float]:
    """How many times as fast each is: the geometric mean over all shapes."""
    return {
        candidate: geometric_mean([times[than][shape] / ms for shape, ms in by_shape.items()])
        for candidate, by_shape in times.items()
    }


def fastest(ratios: Mapping[Candidate, float], usual: Candidate) -> Candidate:
    """The fastest by `ratios` to `usual`, which stays unless another one is clearly faster."""
    best = max(ratios, key=lambda candidate: ratios[candidate])
    return best if ratios[best] >= CLEARLY_FASTER else usual


def batch_sizes(network: Network) -> Sequence[int | None]:
    """Those that are timed: 1, 8 and the largest of the contract; None without a batch dimension."""
    largest = network.batching.max_batch_size
    return sorted({1, min(8, largest), largest}) if largest else [None]
