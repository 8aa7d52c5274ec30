"""The speed of each engine with each file: `python -m loadtest.engine_speed`; writes build/engine_speed.json.

One thread, all in turns in one process, so that other load slows all. The ratios are the result: the chosen engine
against the fastest one, and INT8 in the chosen engine against FP32 in its faster engine.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from ai102 import artifact
from ai102.build import verbs
from ai102.build.workspace import Workspace
from ai102.cli.screen import Screen
from ai102.int8 import judge
from ai102.int8.engines import Candidate, run_of
from ai102.samples.read import read_samples, tensors_of_items
from loadtest.int8_speed import ROOT, full_rows, machine

ROUNDS, ROUND_S = 15, 0.1
NETWORKS = {"resnet50": "loadtest/resnet50.toml", "minilm": "models.toml", "digits": "models.toml"}
BATCHES = (1, 8, 32)
CANDIDATES = tuple(Candidate(engine, form) for form in ("fp32", "int8") for engine in ("onnxruntime", "openvino"))


@dataclass(frozen=True)
class Row:
    """One network at one batch size; ratios are medians and quartiles of those of the rounds."""

    network: str
    batch: int
    chosen: str
    per_s: dict[str, float]
    chosen_to_fastest: tuple[float, float, float]
    int8_to_fp32: tuple[float, float, float]


def measured(name: str, screen: Screen) -> list[Row]:
    """Build the network and time it at each batch size that its contract allows."""
    workspace = Workspace.of(ROOT / NETWORKS[name])
    verbs.engine(workspace, name, screen)
    network, source = workspace.network(name), workspace.source(name)
    _, chosen = served(workspace, name)
    files = {"fp32": workspace.build(name) / "fp32.onnx", "int8": workspace.build(name) / "int8.onnx"}
    runs = {one: run_of(one, files[one.precision], network, threads=1) for one in CANDIDATES}
    rows = []
    for batch in (size for size in BATCHES if size <= network.batching.max_batch_size):
        items = read_samples(workspace.sets, network.calibration_set or name, "calibration").items[:batch]
        tensors = tensors_of_items(network, items, source.tokenizer_file)
        tensors = full_rows(tensors) if network.text else tensors
        with screen.step(f"{name}: batch {batch}"):
            rows.append(_row(name, batch, chosen, _rates(runs, tensors, batch)))
    return rows


def served(workspace: Workspace, name: str) -> tuple[Path, Candidate]:
    """The file of the network's INT8 model, and what the build chose for it."""
    file = workspace.builds(name).newest(f"{name}_int8") / "model.onnx"
    chosen: Any = artifact.facts_of(file)["engine"]
    return file, Candidate(chosen["engine"], chosen["precision"])


def _rates(
    runs: dict[Candidate, judge.Run], tensors: dict[str, NDArray[Any]], batch: int
) -> dict[Candidate, NDArray[np.float64]]:
    """Samples a second of each candidate in each round."""
    calls = {one: partial(run, tensors) for one, run in runs.items()}
    counts = {one: max(1, int(ROUND_S / min(_seconds(call, 1) for _ in range(3)))) for one, call in calls.items()}
    rates = {one: np.zeros(ROUNDS) for one in calls}
    for turn in range(ROUNDS):
        for one in sorted(calls, reverse=turn % 2 == 1):
            rates[one][turn] = batch / _seconds(calls[one], counts[one])
    return rates


def _seconds(call: partial[Any], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - began) / count


def _row(name: str, batch: int, chosen: Candidate, rates: dict[Candidate, NDArray[np.float64]]) -> Row:
    medians = {one: float(np.median(rate)) for one, rate in rates.items()}
    fastest = max(medians, key=lambda one: medians[one])
    fp32 = max((one for one in medians if one.precision == "fp32"), key=lambda one: medians[one])
    int8 = Candidate(chosen.engine, "int8")
    return Row(
        name,
        batch,
        str(chosen),
        {str(one): round(rate, 1) for one, rate in medians.items()},
        quartiles(rates[chosen] / rates[fastest]),
        quartiles(rates[int8] / rates[fp32]),
    )


def quartiles(ratios: NDArray[np.float64]) -> tuple[float, float, float]:
    """The lower one, the median and the upper one."""
    low, median, high = np.percentile(ratios, [25, 50, 75])
    return round(float(low), 3), round(float(median), 3), round(float(high), 3)


def main() -> None:
    screen = Screen()
    rows = [row for name in NETWORKS for row in measured(name, screen)]
    names = [str(one) for one in CANDIDATES]
    table = Table("network", "batch", *(f"{name} /s" for name in names), "chosen", box=None)
    table.add_column("chosen / fastest")
    table.add_column("INT8 / FP32")
    for row in rows:
        both = (row.chosen_to_fastest, row.int8_to_fp32)
        ratios = [f"{median:.2f} ({low:.2f}-{high:.2f})" for low, median, high in both]
        table.add_row(row.network, str(row.batch), *(f"{row.per_s[name]:.1f}" for name in names), row.chosen, *ratios)
    screen.console.print(table)
    this_machine = machine()
    screen.say(f"One thread, {ROUNDS} rounds; {', '.join(f'{key} {value}' for key, value in this_machine.items())}")
    result = {"machine": this_machine, "rounds": ROUNDS, "rows": [asdict(row) for row in rows]}
    artifact.write_text(Path(ROOT / "build" / "engine_speed.json"), json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
