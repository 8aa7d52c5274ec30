"""Where weights come from: one module per kind of source, one row in SOURCES."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ai102.errors import UserError
from ai102.networks import hf, resnet50, train
from ai102.networks.source import Source
from ai102.spec import Network

# "KIND:REST" in models.toml is found by SOURCES[KIND](REST, network, sets folder, build folder of the network).
SOURCES: dict[str, Callable[[str, Network, Path, Path], Source]] = {
    "train": train.find,
    "hf": hf.find,
    "random": resnet50.find,
}


def find(name: str, network: Network, sets: Path, build: Path) -> Source:
    """The source of a network's weights. Raises UserError when there is no such source."""
    kind, _, rest = network.source.partition(":")
    if kind not in SOURCES:
        raise UserError(
            f'models.toml: networks.{name}.source is "{network.source}": no source "{kind}"; '
            f"write one of {', '.join(f'{known}:...' for known in SOURCES)}"
        )
    return SOURCES[kind](rest, network, sets, build)
