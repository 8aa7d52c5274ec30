"""The ONNX Runtime target: the ONNX file itself is the engine, served once it is known to load."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from ai102 import artifact
from ai102.contract import Network
from ai102.errors import UserError
from ai102_runtime.data_types import BY_NAME


def install(
    onnx_file: Path,
    network: Network,
    place: Path,
    made_from: Mapping[str, str],
    facts: Mapping[str, object],
) -> bool:
    """Put `onnx_file` at `place`, with a manifest beside it; returns whether it changed.

    The manifest (NAME.made.json) holds the file's sha256, ONNX Runtime's version, `facts`, and `made_from`:
    what they and the tensors of the contract follow from. Raises UserError when ONNX Runtime cannot load the file or
    its tensors are not those of the contract.
    """
    import onnxruntime

    def write(temporary: Path) -> Mapping[str, object]:
        _check(onnx_file, network)
        shutil.copyfile(onnx_file, temporary)
        return facts

    own = {
        "onnx": artifact.sha256_of_file(onnx_file),
        "target": "onnxruntime",
        "onnxruntime": str(onnxruntime.__version__),
    }
    return artifact.make(place, {**own, **made_from}, write)


def _check(onnx_file: Path, network: Network) -> None:
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    except Exception as err:  # onnxruntime has an exception class per status and no public base of them
        raise UserError(f"{onnx_file}: ONNX Runtime cannot load it: {err}") from err
    batch = 1 if network.batching.max_batch_size else 0
    tensors = (*network.inputs, *network.outputs)
    declared = [(t.name, f"tensor({BY_NAME[t.type].onnx_name})", len(t.dims) + batch) for t in tensors]
    actual = [(t.name, t.type, len(t.shape)) for t in (*session.get_inputs(), *session.get_outputs())]
    if sorted(declared) != sorted(actual):
        raise UserError(f"{onnx_file}: models.toml says the tensors are {declared}, the file says {actual}")
