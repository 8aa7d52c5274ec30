"""`onnx:FILE`: a network that is an ONNX file, relative to models.toml's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai102 import artifact
from ai102.contract import Network
from ai102.errors import UserError
from ai102.weights.onnx_tensors import described
from ai102.weights.source import Source, Wish

if TYPE_CHECKING:
    from onnx import ModelProto

# The limit of a protobuf; the served file holds its weights itself.
MAX_BYTES = (1 << 31) - 1


def find(rest: str, network: Network, home: Path, _build: Path) -> Source:
    """The file `rest`, relative to `home`. Raises UserError when it, or a file of its weights, is not there."""
    file = home / rest
    digests = [artifact.sha256_of_file(one) for one in (file, *weight_files(file))]
    if network.sha256 not in (None, digests[0]):
        raise UserError(f"onnx:{rest}: has sha256 {digests[0]}, but models.toml pins {network.sha256}")
    identity = digests[0] if len(digests) == 1 else artifact.sha256_of_text(" ".join(digests))

    def write(place: Path) -> None:
        import onnx

        model = read(file)
        if len(digests) > 1:
            onnx.load_external_data_for_model(model, str(file.parent))
        onnx.save(model, place)

    return Source(identity, write_onnx=write)


def propose(rest: str, wish: Wish) -> Mapping[str, Any]:
    """Tensors and batch dimension of the file `rest`, as ONNX Runtime reports them.

    Raises UserError when the file is missing or not complete, when ONNX Runtime cannot run it, or when it does
    not fit the task.
    """
    file = wish.home / rest
    weight_files(file)
    return described(file, f"onnx:{rest}", wish)


def read(file: Path) -> ModelProto:
    """The model without weights that other files hold. Raises UserError when `file` is not an ONNX file."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(file, load_external_data=False)
    except FileNotFoundError as err:
        raise UserError(f"onnx:{file}: no such file") from err
    except (DecodeError, IsADirectoryError) as err:
        raise UserError(f"onnx:{file}: not an ONNX file ({type(err).__name__})") from err
    if not model.graph.node or not model.opset_import:
        raise UserError(f"onnx:{file}: not an ONNX file: it holds no graph")
    return model


def weight_files(file: Path) -> list[Path]:
    """The files beside `file` that hold some of its weights.

    Raises UserError when one is missing or outside of the file's folder, or when the total is too large.
    """
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    model, folder = read(file), file.parent.resolve()
    tensors = [tensor for tensor in _all_tensors(model.graph) if uses_external_data(tensor)]
    paths: dict[Path, None] = {}
    for tensor in tensors:
        place = ExternalDataInfo(tensor).location
        path = (folder / place).resolve()
        if folder not in path.parents:
            raise UserError(f"onnx:{file}: the weights {tensor.name} lie in {place}, outside of its folder: not read")
        if not path.is_file():
            raise UserError(
                f"onnx:{file}: the weights {tensor.name} lie in {place}, which is missing: put that file beside it"
            )
        paths[path] = None
    total = sum(path.stat().st_size for path in (file, *paths))
    if total > MAX_BYTES:
        raise UserError(f"onnx:{file}: {total / 1e9:.1f} GB with its weights; one ONNX file holds at most 2 GB")
    return list(paths)


def _all_tensors(graph: Any) -> list[Any]:
    """Weights of the graph and constants of its nodes, subgraphs included."""
    tensors = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for inner in (attribute.g, *attribute.graphs):
                tensors += _all_tensors(inner)
    return tensors
