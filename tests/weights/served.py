"""The outputs of a checkpoint's network as served, computed without a server: our transforms, then PyTorch or ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ai102 import weights
from ai102.contract import Network, Task
from ai102.samples.examples import examples_for
from ai102.samples.read import tensors_of_items
from ai102.weights.export import onnx_from_torch
from ai102.weights.source import Source, Wish


def proposed(folder: Path, task: Task, **wish: Any) -> Network:
    """The network that `ai102 add` would write into models.toml."""
    source = f"hf:{folder}"
    table = weights.propose(source, Wish("net", task, **wish))
    own_keys = {"source": source, "task": task, "allow_pickle": wish.get("allow_pickle", False)}
    rest = {"latency_goal": {"p99_ms": 100}, "batching": {"max_batch_size": 8}}
    return Network.model_validate({**table, **own_keys, **rest})


def source_of(network: Network) -> Source:
    return weights.find("net", network, Path(), Path())


def answers(network: Network, items: Sequence[bytes]) -> NDArray[np.float32]:
    """The outputs of PyTorch, from which the ONNX file is exported."""
    source = source_of(network)
    assert source.module is not None
    tensors = tensors_of_items(network, items, source.tokenizer_file)
    with torch.no_grad():
        given = source.module(lambda done, total: None)(*(torch.from_numpy(tensors[t.name]) for t in network.inputs))
    array: NDArray[np.float32] = given.numpy()
    return array


def exported_answers(network: Network, items: Sequence[bytes], file: Path) -> NDArray[np.float32]:
    """The outputs of ONNX Runtime, item by item and in one batch, which must be equal."""
    import onnxruntime

    source = source_of(network)
    assert source.module is not None
    examples = examples_for(network, source.tokenizer_file, 4)
    assert onnx_from_torch(source.module(lambda done, total: None), network, examples, file) < 1e-5
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    batch: NDArray[np.float32] = session.run(None, tensors_of_items(network, items, source.tokenizer_file))[0]
    for row, item in zip(batch, items, strict=True):
        alone = session.run(None, tensors_of_items(network, [item], source.tokenizer_file))[0][0]
        assert np.abs(row[: len(alone)] - alone[: len(row)]).max() < 1e-5
    return batch
