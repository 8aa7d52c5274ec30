"""One table of Triton's data types: what Triton, numpy and ONNX themselves say, and what the gateway's Lua repeats."""

import re
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
from tritonclient.grpc import model_config_pb2 as pb
from tritonclient.utils import triton_to_np_dtype

from ai102_runtime.data_types import BY_NAME, DATA_TYPES, DataType, TypeName

ROOT = Path(__file__).parent.parent.parent
GUARD = ROOT / "tools" / "ai102" / "gateway" / "judge" / "json_guard.lua"


def test_the_table_has_every_type_of_triton() -> None:
    assert get_args(TypeName) == tuple(BY_NAME)
    assert {kind.config_name for kind in DATA_TYPES} == set(pb.DataType.keys()) - {"TYPE_INVALID"}


@pytest.mark.parametrize("kind", DATA_TYPES, ids=lambda kind: kind.name)
def test_numpy_and_onnx_know_the_type_by_these_names(kind: DataType) -> None:
    number = onnx.TensorProto.DataType.Value({"string": "STRING"}.get(kind.onnx_name, kind.onnx_name.upper()))
    assert number == kind.onnx_number
    if kind.numpy_name:
        dtype = np.dtype(kind.numpy_name)
        assert (dtype.name, dtype) == (kind.numpy_name, np.dtype(triton_to_np_dtype(kind.name)))
        assert kind.element_bytes == (0 if dtype == np.object_ else dtype.itemsize)
    else:
        assert (kind.name, kind.element_bytes) == ("BF16", 2)


def test_the_gateway_has_the_same_sizes() -> None:
    (table,) = re.findall(r"local SIZES = \{(.*?)\}", GUARD.read_text(encoding="utf-8"), re.DOTALL)
    sizes = {name: int(size) for name, size in re.findall(r"(\w+) = (\d+)", table)}
    assert sizes == {kind.name: kind.element_bytes for kind in DATA_TYPES}
