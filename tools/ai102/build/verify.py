"""The test split through the served ensemble and through PyTorch, side by side."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai102.build.workspace import Workspace
from ai102.client import Client, bytes_array
from ai102.contract import Contract, Network
from ai102.contract.pipelines import pipeline_of_network
from ai102.errors import UserError
from ai102.int8 import judge
from ai102.progress import Progress, Reporter
from ai102.samples.read import read_samples
from ai102.serve.server import Server

WORST = 5


def served_outputs(
    client: Client, contract: Contract, name: str, items: tuple[bytes, ...], progress: Progress
) -> NDArray[np.float32]:
    """Each item sent alone through the network's ensemble: outputs [items, width]."""
    pipeline, output = pipeline_of_network(contract, name)
    rows = []
    for position, item in enumerate(items, start=1):
        rows.append(client.infer(pipeline.name, {pipeline.input: bytes_array([item])}, [output])[output][0])
        progress(position, len(items))
    return np.stack(rows)


def framework_outputs(workspace: Workspace, name: str, items: tuple[bytes, ...]) -> NDArray[np.float32]:
    """The items through the network in PyTorch: outputs [items, width]."""
    import torch

    network, source = workspace.network(name), workspace.source(name)
    if source.module is None:
        raise UserError(
            f"{name} comes from {network.source}, which PyTorch does not run: there is nothing to compare with"
        )
    module = source.module(lambda done, total: None)

    def run(tensors: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        with torch.no_grad():
            answer: NDArray[np.float32] = module(*(torch.from_numpy(tensors[t.name]) for t in network.inputs)).numpy()
        return answer

    return judge.outputs(run, network, items, source.tokenizer_file)


def verify(workspace: Workspace, name: str, url: str | None, report: Reporter) -> bool:
    """Compare served and framework answers on the whole test split and report them; returns whether they agree.

    Asks the server at `url`, or one of its own when None. Raises UserError when the network has no calibration
    set (and so no test split) or no ensemble.
    """
    network = workspace.network(name)
    if network.calibration_set is None:
        raise UserError(f"{name} has no calibration_set in models.toml, so there is no test split to verify it on")
    ensemble = pipeline_of_network(workspace.contract, name)[0].name
    samples = read_samples(workspace.sets, network.calibration_set, "test")
    with report.step(f"{name}: PyTorch on {len(samples.items)} test samples"):
        expected = framework_outputs(workspace, name, samples.items)
    with ExitStack() as stack:
        if url is None:
            server = stack.enter_context(
                Server(
                    workspace.repository,
                    http_port=0,
                    grpc_port=0,
                    metrics_port=0,
                    models=[ensemble],
                    contract=workspace.contract,
                )
            )
            url = f"grpc://{server.grpc_url}"
        client = stack.enter_context(Client(url))
        with report.step(f"{name}: {ensemble} on the same samples") as progress:
            served = served_outputs(client, workspace.contract, name, samples.items, progress)
    verdict = judge.compare(network, samples, expected, served)
    report.say(f"{name}: PyTorch against {ensemble} as served: {verdict.summary}")
    for line in _differing(network, samples.items, expected, served):
        report.say(line)
    for complaint in verdict.complaints:
        report.say(f"{name}: over budget: {complaint}")
    return verdict.passed


def _differing(
    network: Network, items: tuple[bytes, ...], expected: NDArray[np.float32], served: NDArray[np.float32]
) -> list[str]:
    """The samples that differ most: other labels, or the lowest cosines."""
    if network.labels:
        before, after = expected.argmax(axis=1), served.argmax(axis=1)
        return [
            f"  test sample {i}: PyTorch says {network.labels[before[i]]} ({expected[i].max():.3f}), "
            f"served {network.labels[after[i]]} ({served[i].max():.3f})"
            for i in np.flatnonzero(before != after)
        ]
    cosines = (expected * served).sum(axis=1) / (np.linalg.norm(expected, axis=1) * np.linalg.norm(served, axis=1))
    return [
        f"  test sample {i}: cosine {cosines[i]:.4f}: {items[i].decode()[:60]}" for i in np.argsort(cosines)[:WORST]
    ]
