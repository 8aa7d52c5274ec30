"""Measures one replica: the time from its start to ready, and its memory before and after the largest batches."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ai102.client import Client, bytes_array
from ai102.contract import Contract
from ai102.contract.answers import asked_from_contract
from ai102.kubernetes.footprint import NOTE
from ai102.serve.server import Server
from ai102.tune import capacity
from ai102.tune.cores import on, shared_out, usable
from ai102_runtime.health.samples import PNG

# Longer than any network's longest text, so that it is cut there.
LONG_TEXT = b"one more word " * 400
# ONNX Runtime's arenas grow with the second and third batch, too.
ROUNDS = 3


def measure(
    contract: Contract, repository: Path, starts: int, command: str, say: Callable[[str], None]
) -> dict[str, Any]:
    """Start a replica `starts` times on the cores of a server; gives what stands in loadtest/footprint.json."""
    cores = shared_out(usable()).server
    seconds, memory, version = [], (0.0, 0.0), ""
    for number in range(starts):
        server = Server(repository, http_port=0, grpc_port=0, metrics_port=0, contract=contract)
        began = time.monotonic()
        with on(cores):
            server.start()
        try:
            seconds.append(round(time.monotonic() - began, 2))
            ready_mib = memory_mib(server.pid)
            version = _ask_largest_batches(contract, server.grpc_url)
            memory = max(memory, (ready_mib, memory_mib(server.pid)), key=lambda pair: pair[1])
        finally:
            server.stop()
        say(f"start {number + 1} of {starts}: ready after {seconds[-1]:g} s, {memory[1]:.0f} MiB after batches")
    return {
        "note": NOTE,
        "seconds_to_ready": seconds,
        "memory_mib": {"ready": round(memory[0]), "after_batches": round(memory[1])},
        "models": len(contract.served_models),
        "machine": {**capacity.machine(), "server_cores": len(cores)},
        "versions": capacity.versions(version),
        "date": capacity.today(),
        "command": command,
    }


def memory_mib(group: int) -> float:
    """What the processes of a group hold, pages that they share counted once."""
    kib = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name in parentheses may hold blanks; after it come state, parent and group.
            if int((folder / "stat").read_text().rpartition(")")[2].split()[2]) != group:
                continue
            lines = (folder / "smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024


def _ask_largest_batches(contract: Contract, address: str) -> str:
    """Each ensemble of images or texts, with as many as its largest batch takes; gives the server's version."""
    asked = asked_from_contract(contract)
    items = {asked.classifier.input: PNG} if asked.classifier else {}
    items |= {asked.embedder.input: LONG_TEXT} if asked.embedder else {}
    with Client(f"grpc://{address}", timeout_s=120) as client:
        for name, ensemble in contract.ensembles.items():
            if len(ensemble.inputs) == 1 and ensemble.inputs[0] in items:
                batch = [items[ensemble.inputs[0]]] * max(1, client.config(name).max_batch_size)
                for _ in range(ROUNDS):
                    client.infer(name, {ensemble.inputs[0]: bytes_array(batch)})
        return client.version()
