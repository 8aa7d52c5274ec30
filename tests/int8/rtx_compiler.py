"""Asks NVIDIA's compiler (tensorrt-rtx) about ONNX files: `python rtx_compiler.py FILE...` prints a JSON line for each.

A process of its own, since the compiler can crash; what it had not answered by then, `verdicts` asks again.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

OUTCOMES = ("parse", "build", "crash", "built")
_ANSWER = "answer: "
# Layers that multiply; others (kgen, runtime_fusion) dequantize first where they read INT8.
_PRODUCTS = ("correlation", "deconv", "gemm")


def verdicts(files: Iterable[Path]) -> dict[Path, tuple[str, frozenset[str]]]:
    """By file: one of OUTCOMES (where it fails, or built), and the ONNX nodes that the plan computes in INT8."""
    left, answers = list(files), {}
    while left:
        command = [sys.executable, __file__, *map(str, left)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        # The library writes to stdout too.
        for line in (line for line in done.stdout.splitlines() if line.startswith(_ANSWER)):
            outcome, nodes = json.loads(line.removeprefix(_ANSWER))
            answers[left.pop(0)] = (outcome, frozenset(nodes))
        if left:
            assert done.returncode < 0, done.stderr  # a signal; anything else is a mistake here
            answers[left.pop(0)] = ("crash", frozenset())
    return answers


def _verdict(trt: Any, file: Path) -> tuple[str, list[str]]:
    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.layers = ""

        def log(self, severity: Any, message: str) -> None:
            if message.startswith("Layers:"):
                self.layers = message

    logger = Logger()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    if not trt.OnnxParser(network, logger).parse(file.read_bytes()):
        return "parse", []
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    profile = builder.create_optimization_profile()
    for tensor in (network.get_input(index) for index in range(network.num_inputs)):
        shape = [8 if size < 0 else size for size in tensor.shape]
        profile.set_shape(tensor.name, shape, shape, shape)
    config.add_optimization_profile(profile)
    if builder.build_serialized_network(network, config) is None:
        return "build", []
    return "built", sorted(set(_int8_nodes(logger.layers)))


def _int8_nodes(layers: str) -> Iterable[str]:
    for line in layers.splitlines():
        kind = re.search(r", LayerType: (\w+), Inputs: \[(.*?)\], (?:Constants: \[(.*?)\], )?Outputs: ", line)
        if kind is None or kind[1] not in _PRODUCTS:
            continue
        taken = re.findall(r"Datatype: (\w+)", kind[2])
        factors = [*taken, *re.findall(r"Datatype: (\w+)", kind[3] or "")[: 2 - len(taken)]]
        if factors == ["Int8", "Int8"]:
            yield from re.findall(r"\[ONNX Layer: ([^\]]*)\]", line.rpartition("Metadata: ")[2])


if __name__ == "__main__":
    import tensorrt_rtx

    for name in sys.argv[1:]:
        print(_ANSWER + json.dumps(_verdict(tensorrt_rtx, Path(name))), flush=True)  # noqa: T201
