"""Where weights come from: one module per kind of source, one row in SOURCES."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ai102 import artifact
from ai102.code_hash import inputs_of_code
from ai102.contract import Network
from ai102.errors import UserError
from ai102.weights import onnx_file, resnet50, sklearn_pipeline, torch_callable, train
from ai102.weights.hf import source as hf
from ai102.weights.source import Kind, Source, Wish

# SOURCES[KIND].find(REST, network, home, build folder of the network) resolves "KIND:REST" of models.toml.
SOURCES: dict[str, Kind] = {
    "train": Kind(train.find),
    "hf": Kind(hf.find, hf.propose),
    "onnx": Kind(onnx_file.find, onnx_file.propose),
    "torch": Kind(torch_callable.find, torch_callable.propose),
    "sklearn": Kind(sklearn_pipeline.find, sklearn_pipeline.propose),
    "random": Kind(resnet50.find),
}


def find(name: str, network: Network, home: Path, build: Path) -> Source:
    """The source of a network's weights; file names are relative to `home`, and `build` holds the source's outputs.

    Raises UserError when there is no such source.
    """
    kind, _, rest = network.source.partition(":")
    if kind not in SOURCES:
        raise UserError(f'models.toml: networks.{name}.source is "{network.source}": {_unknown(kind)}')
    find_source = SOURCES[kind].find
    source = find_source(rest, network, home, build)
    # The code that makes a network of the weights, and the libraries it uses, decide what the network is.
    made_from = {"weights": source.identity, **inputs_of_code(find_source.__module__)}
    return replace(source, identity=artifact.sha256_of_text(repr(sorted(made_from.items()))))


def propose(source: str, wish: Wish) -> Mapping[str, Any]:
    """The keys of a new network's table in models.toml that follow from the source itself.

    Raises UserError, in one line, when there is no such source or it cannot be served as `wish` says.
    """
    kind, _, rest = source.partition(":")
    if kind not in SOURCES or not rest:
        raise UserError(f'--source is "{source}": {_unknown(kind)}')
    describe = SOURCES[kind].propose
    if describe is None:
        raise UserError(f'--source is "{source}": networks of that kind are written into models.toml by hand')
    return describe(rest, wish)


def _unknown(kind: str) -> str:
    return f'no source "{kind}"; write one of {", ".join(f"{known}:..." for known in SOURCES)}'
