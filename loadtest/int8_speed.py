"""The speed of INT8 relative to FP32: `python -m loadtest.int8_speed` prints it and writes build/int8_speed.json.

One thread, both forms alternately in one process, so that other load slows both; the ratios are the result.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from ai102 import artifact
from ai102.build import verbs
from ai102.build.workspace import Workspace
from ai102.cli.screen import Screen
from ai102.host.cpu import cpu_name
from ai102.int8 import judge, stopwatch
from ai102.int8.stopwatch import Speed
from ai102.samples.read import read_samples, tensors_of_items
from ai102_runtime.engine.cpu import this_cpu

ROOT = Path(__file__).parent.parent
ROUNDS = 15
TOKENS = 32
OPERATORS = (
    "QLinearConv", "MatMulIntegerToFloat", "QGemm",  # in INT8
    "Conv", "FusedConv", "NhwcFusedConv", "Gemm", "MatMul", "FusedMatMul",  # in float; attention has no weights
)  # fmt: skip
# Contract, network, batch size.
CASES = (
    ("loadtest/resnet50.toml", "resnet50", 1),
    ("loadtest/resnet50.toml", "resnet50", 8),
    ("models.toml", "minilm", 1),
    ("models.toml", "minilm", 8),
    ("models.toml", "digits", 1),
    ("models.toml", "digits", 32),
)


@dataclass(frozen=True)
class Row:
    """One network at one batch size."""

    network: str
    batch: int
    speed: Speed
    operators: dict[str, int]  # those with weights in the optimized INT8 file: the first three are INT8


def measure(contract: str, name: str, batch: int, screen: Screen) -> Row:
    """Build both forms of the network and time them on real samples."""
    workspace = Workspace.of(ROOT / contract)
    int8, fp32 = verbs.quantize(workspace, name, screen), verbs.export(workspace, name, screen)
    network, source = workspace.network(name), workspace.source(name)
    items = read_samples(workspace.sets, network.calibration_set or name, "calibration").items[:batch]
    tensors = tensors_of_items(network, items, source.tokenizer_file)
    if network.text is not None:
        tensors = full_rows(tensors)
    runs = [judge.session_run(file, network, threads=1) for file in (fp32, int8)]
    with screen.step(f"{name}: batch {batch}"):
        speed = stopwatch.compare(lambda: runs[0](tensors), lambda: runs[1](tensors), batch, rounds=ROUNDS)
    counts = operators_as_run(int8)
    return Row(name, batch, speed, {key: counts[key] for key in OPERATORS if counts[key]})


def full_rows(tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Rows of TOKENS tokens without padding: the texts' own tokens, repeated."""
    rows = [ids[mask == 1] for ids, mask in zip(tensors["input_ids"], tensors["attention_mask"], strict=True)]
    ids = np.stack([np.resize(row, TOKENS) for row in rows])
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def operators_as_run(onnx_file: Path) -> Counter[str]:
    """The operators of the file after ONNX Runtime's optimization on this machine."""
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(onnx_file, options, providers=["CPUExecutionProvider"])
        model = onnx.load(options.optimized_model_filepath)
    return Counter(node.op_type for node in model.graph.node)


def machine() -> dict[str, str]:
    return {
        "cpu": cpu_name(),
        "kind": this_cpu(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "onnxruntime": version("onnxruntime"),
        "date": datetime.now(UTC).date().isoformat(),
    }


def main() -> None:
    screen = Screen()
    rows = [measure(*case, screen) for case in CASES]
    table = Table("network", "batch", "FP32 /s", "INT8 /s", "ratio", "quartiles", "as run", box=None)
    for row in rows:
        speed = row.speed
        table.add_row(
            row.network,
            str(row.batch),
            f"{1000 * row.batch / speed.fp32_ms:.1f}",
            f"{1000 * row.batch / speed.int8_ms:.1f}",
            f"{speed.ratio:.2f}",
            f"{speed.ratio_low:.2f} to {speed.ratio_high:.2f}",
            ", ".join(f"{count} {operator}" for operator, count in row.operators.items()),
        )
    screen.console.print(table)
    this_machine = machine()
    shown = ", ".join(f"{key} {value}" for key, value in this_machine.items())
    screen.say(f"One thread, {ROUNDS} alternating rounds; {shown}")
    file = ROOT / "build" / "int8_speed.json"
    artifact.write_text(
        file,
        json.dumps({"machine": this_machine, "rounds": ROUNDS, "rows": [asdict(row) for row in rows]}, indent=1) + "\n",
    )
    screen.say(f"written: {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
