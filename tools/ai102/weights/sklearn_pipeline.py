"""`sklearn:FILE`: a scikit-learn estimator or pipeline, saved with joblib, converted by skl2onnx."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai102 import artifact
from ai102.contract import Network, Tensor
from ai102.errors import UserError
from ai102.samples.examples import example_tensors
from ai102.weights.onnx_tensors import described
from ai102.weights.source import Source, Wish

OPSET = 18
PARITY_SAMPLES = 64
MAX_ABS_DIFFERENCE = 1e-4


def find(rest: str, network: Network, home: Path, _build: Path) -> Source:
    """The estimator in the file `rest`, relative to `home`.

    Raises UserError when the file is not there or models.toml does not allow its pickle.
    """
    file = home / rest
    _check_allowed(rest, file, network.allow_pickle, "write allow_pickle = true in the network's table")
    digest = artifact.sha256_of_file(file)
    if network.sha256 not in (None, digest):
        raise UserError(f"sklearn:{rest}: has sha256 {digest}, but models.toml pins {network.sha256}")

    def write(place: Path) -> None:
        estimator = _loaded(rest, file)
        _convert(rest, estimator, network.inputs, place)
        _check_parity(rest, estimator, network.inputs, place)

    versions = artifact.versions("scikit-learn", "skl2onnx")
    return Source(artifact.sha256_of_text(repr((digest, sorted(versions.items())))), write_onnx=write)


def propose(rest: str, wish: Wish) -> Mapping[str, Any]:
    """The estimator's features as one FP32 input, or the inputs of `wish`; outputs as skl2onnx names them.

    Raises UserError when the pickle is not allowed or cannot be read, when its inputs are not defined, or when
    skl2onnx cannot convert it.
    """
    file = wish.home / rest
    _check_allowed(rest, file, wish.allow_pickle, "add --allow-pickle")
    estimator = _loaded(rest, file)
    count = getattr(estimator, "n_features_in_", None)
    if not wish.inputs and count is None:
        raise UserError(
            f"sklearn:{rest}: does not define its inputs: write them, such as --input text:BYTES:1, one per column"
        )
    columns = getattr(estimator, "feature_names_in_", None)
    if not wish.inputs and columns is not None:
        names = " ".join(f"--input {column}:FP32:1" for column in columns)
        raise UserError(
            f"sklearn:{rest}: takes a table with columns: name each with its type, such as {names} (texts: BYTES)"
        )
    inputs = wish.inputs or (Tensor(name="features", type="FP32", dims=(count,)),)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model.onnx"
        _convert(rest, estimator, inputs, place)
        table = described(place, f"sklearn:{rest}", wish)
    return {**table, "sha256": artifact.sha256_of_file(file)}


def _check_allowed(rest: str, file: Path, is_allowed: bool, how: str) -> None:
    if not file.is_file():
        raise UserError(f"sklearn:{rest}: no such file")
    if not is_allowed:
        raise UserError(
            f"sklearn:{rest}: is a pickle, and opening one can run arbitrary code; if you trust its source, {how}"
        )


def _loaded(rest: str, file: Path) -> Any:
    import joblib
    import sklearn

    with warnings.catch_warnings():
        warnings.simplefilter("error", sklearn.exceptions.InconsistentVersionWarning)
        try:
            estimator = joblib.load(file)
        except Exception as err:  # a pickle may raise anything
            reason = " ".join(str(err).split())
            raise UserError(
                f"sklearn:{rest}: scikit-learn {sklearn.__version__} cannot open it: {type(err).__name__}: {reason}"
            ) from err
    if not hasattr(estimator, "predict") and not hasattr(estimator, "transform"):
        raise UserError(f"sklearn:{rest}: holds a {type(estimator).__name__}, expected an estimator or a pipeline")
    return estimator


def _convert(rest: str, estimator: Any, inputs: Sequence[Tensor], place: Path) -> None:
    import onnx
    from skl2onnx import to_onnx
    from skl2onnx.common import data_types

    kinds = {
        "FP32": data_types.FloatTensorType, "FP64": data_types.DoubleTensorType, "INT64": data_types.Int64TensorType,
        "INT32": data_types.Int32TensorType, "BOOL": data_types.BooleanTensorType, "BYTES": data_types.StringTensorType,
    }  # fmt: skip
    if unfit := next((tensor for tensor in inputs if tensor.type not in kinds), None):
        raise UserError(f"sklearn:{rest}: {unfit.name} is {unfit.type}, expected one of {', '.join(kinds)}")
    types = [(t.name, kinds[t.type]([None, *(None if size == -1 else size for size in t.dims)])) for t in inputs]
    is_classifier = hasattr(estimator, "classes_")
    options = {id(estimator): {"zipmap": False}} if is_classifier else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = to_onnx(estimator, initial_types=types, options=options, target_opset={"": OPSET, "ai.onnx.ml": 3})
    except Exception as err:  # skl2onnx and the estimators that it calls raise many types
        reason = " ".join(str(err).split())[:300]
        raise UserError(f"sklearn:{rest}: skl2onnx cannot convert it: {type(err).__name__}: {reason}") from err
    onnx.save(model, place)


def _check_parity(rest: str, estimator: Any, inputs: Sequence[Tensor], place: Path) -> None:
    """Raises UserError when ONNX Runtime and scikit-learn differ on generated values."""
    import onnxruntime

    arrays = example_tensors(inputs, PARITY_SAMPLES)
    session = onnxruntime.InferenceSession(place, providers=["CPUExecutionProvider"])
    outputs = session.run(None, arrays)
    for expected, output in zip(_answers(estimator, inputs, arrays), outputs, strict=False):
        if difference(expected, output) > MAX_ABS_DIFFERENCE:
            raise UserError(
                f"sklearn:{rest}: ONNX differs from scikit-learn by {difference(expected, output):.2e}, the limit is "
                f"{MAX_ABS_DIFFERENCE:.0e}: some step computes in double precision; try FP64 inputs"
            )


def _answers(estimator: Any, inputs: Sequence[Tensor], arrays: Mapping[str, NDArray[Any]]) -> list[Any]:
    """scikit-learn's outputs, in the order of skl2onnx's."""
    if len(inputs) == 1:
        table: Any = arrays[inputs[0].name]
    else:
        import pandas  # a pipeline that takes columns by name was fitted on a pandas table

        table = pandas.DataFrame({name: array[:, 0] for name, array in arrays.items()})
    if hasattr(estimator, "predict_proba"):
        return [estimator.predict(table), estimator.predict_proba(table)]
    return [estimator.predict(table) if hasattr(estimator, "predict") else estimator.transform(table)]


def difference(expected: Any, output: Any) -> float:
    """The largest absolute difference of two arrays; infinite if their sizes or strings differ."""
    theirs, ours = np.asarray(expected).reshape(-1), np.asarray(output).reshape(-1)
    if theirs.size != ours.size:
        return float("inf")
    if ours.dtype.kind in "OSU":
        return 0.0 if (theirs.astype(str) == ours.astype(str)).all() else float("inf")
    return float(np.abs(theirs.astype(np.float64) - ours.astype(np.float64)).max(initial=0.0))
