"""A large table of floats that is only looked up is kept in eight bits; others stay as they are."""

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ai102.int8.tables import shrink_tables

ROWS, WIDTH = 4096, 80
RANDOM = np.random.default_rng(5)
# Rows of very different sizes, one of them zero.
TABLE = (RANDOM.standard_normal((ROWS, WIDTH)) * RANDOM.uniform(0.01, 10, (ROWS, 1))).astype(np.float32)
TABLE[7] = 0
IDS = np.array([[0, 7, ROWS - 1], [5, 5, 1]], np.int64)


def network(table: np.ndarray, nodes: Sequence[NodeProto], outputs: Sequence[str] = ("y",)) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["a", "b", "c"]) for name in outputs],
        [numpy_helper.from_array(table, "table")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def answers(model: ModelProto) -> list[np.ndarray]:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs: list[np.ndarray] = session.run(None, {"ids": IDS})
    return outputs


def test_looked_up_rows_are_off_by_half_a_step_of_their_own_at_most() -> None:
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["words"], name="words"),
        helper.make_node("Gather", ["table", "ids"], ["again"], axis=0),
        helper.make_node("Add", ["words", "again"], ["y"]),
    ]
    model = network(TABLE, nodes)
    size, (expected,) = len(model.SerializeToString()), answers(model)
    assert shrink_tables(model) == ("table",)
    assert len(model.SerializeToString()) < 0.28 * size
    (answer,) = answers(model)
    step = np.abs(TABLE[IDS]).max(axis=-1, keepdims=True) / 127
    assert (np.abs(answer - expected) <= 2 * (0.5 * step + 1e-6)).all()
    assert (answer[0, 1] == 0).all()


@pytest.mark.parametrize(
    ("table", "nodes"),
    [
        (TABLE[:64], [helper.make_node("Gather", ["table", "ids"], ["y"])]),
        (TABLE.astype(np.float64), [
            helper.make_node("Gather", ["table", "ids"], ["z"]),
            helper.make_node("Cast", ["z"], ["y"], to=TensorProto.FLOAT),
        ]),
        (TABLE.reshape(ROWS, WIDTH, 1), [helper.make_node("Gather", ["table", "ids"], ["y"])]),
        (TABLE, [helper.make_node("Gather", ["table", "ids"], ["y"], axis=1)]),
        (TABLE, [
            helper.make_node("Gather", ["table", "ids"], ["z"]),
            helper.make_node("ReduceMax", ["table"], ["most"], keepdims=0),
            helper.make_node("Mul", ["z", "most"], ["y"]),
        ]),
    ],
    ids=["small", "doubles", "three dimensions", "columns", "read otherwise too"],
)  # fmt: skip
def test_other_tables_stay(table: np.ndarray, nodes: Sequence[NodeProto]) -> None:
    model = network(table, nodes)
    before = model.SerializeToString()
    assert shrink_tables(model) == ()
    assert model.SerializeToString() == before


def test_a_table_that_is_an_output_stays() -> None:
    model = network(TABLE, [helper.make_node("Gather", ["table", "ids"], ["y"])], ("y", "table"))
    assert shrink_tables(model) == ()
