"""A network served at full batches against its engine in a loop: `python -m loadtest.full_batches`.

Each request is a whole batch, two are in flight over gRPC, and the server has one core. In turns with it the engine
runs the same batches in a loop on that core. Prints the ratio of the samples a second; writes build/full_batches.json.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from ai102 import artifact
from ai102.build import verbs
from ai102.build.workspace import Workspace
from ai102.cli.screen import Screen
from ai102.client import Client
from ai102.configs import configure
from ai102.int8.engines import run_of
from ai102.samples.read import read_samples, tensors_of_items
from ai102.serve.server import Server
from loadtest.bench.processes import pin_this_process, served_on
from loadtest.engine_speed import quartiles, served
from loadtest.int8_speed import ROOT, full_rows, machine

ROUNDS, ROUND_S = 9, 2.0
SERVER_CORE, CLIENT_CORE, IN_FLIGHT = 0, 1, 2
CASES = (("models.toml", "minilm", 32), ("loadtest/resnet50.toml", "resnet50", 8))


@dataclass(frozen=True)
class Row:
    """Samples a second, medians; the ratio with its quartiles."""

    model: str
    batch: int
    engine: str
    served_per_s: float
    loop_per_s: float
    ratio: tuple[float, float, float]


def measured(contract: str, name: str, batch: int, screen: Screen) -> Row:
    workspace = Workspace.of(ROOT / contract)
    verbs.engine(workspace, name, screen)
    configure.write(workspace.contract, workspace.repository)
    network, source = workspace.network(name), workspace.source(name)
    items = read_samples(workspace.sets, network.calibration_set or name, "calibration").items[:batch]
    tensors = tensors_of_items(network, items, source.tokenizer_file)
    tensors = full_rows(tensors) if network.text else tensors
    model = f"{name}_int8"
    file, chosen = served(workspace, name)
    run = run_of(chosen, file, network, threads=1)
    server = Server(workspace.repository, http_port=0, grpc_port=0, metrics_port=0, models=[model])
    with (
        served_on(SERVER_CORE, server),
        Client(f"grpc://{server.grpc_url}", shared_memory=False) as client,
        screen.step(f"{model}: batch {batch}"),
    ):
        rounds = [
            (_served(client, model, tensors, batch), _looped(lambda: run(tensors), batch)) for _ in range(ROUNDS + 1)
        ][1:]  # the first one warms up
    per_s, loop = np.array(rounds).T
    return Row(model, batch, str(chosen), float(np.median(per_s)), float(np.median(loop)), quartiles(per_s / loop))


def _served(client: Client, model: str, tensors: dict[str, NDArray[Any]], batch: int) -> float:
    """Samples a second from the server, asked from the client's core."""
    pin_this_process({CLIENT_CORE})
    ends = time.perf_counter() + ROUND_S

    def ask(_: int) -> int:
        count = 0
        while time.perf_counter() < ends:
            client.infer(model, tensors)
            count += 1
        return count

    began = time.perf_counter()
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        count = sum(pool.map(ask, range(IN_FLIGHT)))
    return count * batch / (time.perf_counter() - began)


def _looped(call: Callable[[], object], batch: int) -> float:
    """Samples a second of the engine on the server's core, which is idle meanwhile."""
    pin_this_process({SERVER_CORE})
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < ROUND_S:
        call()
        count += 1
    return count * batch / (time.perf_counter() - began)


def main() -> None:
    screen = Screen()
    rows = [measured(*case, screen) for case in CASES]
    table = Table("model", "batch", "engine", "served /s", "loop /s", "ratio", "quartiles", box=None)
    for row in rows:
        low, median, high = row.ratio
        rates = (f"{row.served_per_s:.1f}", f"{row.loop_per_s:.1f}")
        table.add_row(row.model, str(row.batch), row.engine, *rates, f"{median:.3f}", f"{low:.3f} to {high:.3f}")
    screen.console.print(table)
    this_machine = machine()
    screen.say(f"{ROUNDS} rounds; {', '.join(f'{key} {value}' for key, value in this_machine.items())}")
    result = {"machine": this_machine, "rounds": ROUNDS, "rows": [asdict(row) for row in rows]}
    artifact.write_text(ROOT / "build" / "full_batches.json", json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
