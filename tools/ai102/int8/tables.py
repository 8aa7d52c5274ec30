"""Large float tables that are only looked up, such as a transformer's words, in eight bits: a scale for each row."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.helper import get_attribute_value

# A smaller table saves nothing.
LEAST_BYTES = 1 << 20
LARGEST = 127


def shrink_tables(model: ModelProto) -> tuple[str, ...]:
    """Replace such tables [rows, width] in `model` by INT8 ones and the scales of their rows; returns their names.

    A looked-up row is off by half a step of its own at most, 0.4 % of its largest value. Only the rows that are
    looked up become floats again: DequantizeLinear before Gather would make a float table at load.
    """
    graph = model.graph
    outputs = {output.name for output in graph.output}
    shrunk = []
    for table in list(graph.initializer):
        readers = [node for node in graph.node if table.name in node.input]
        is_large = (
            table.data_type == TensorProto.FLOAT and len(table.dims) == 2 and 4 * np.prod(table.dims) >= LEAST_BYTES
        )
        if (
            not is_large
            or not readers
            or table.name in outputs
            or not all(_looks_up(node, table.name) for node in readers)
        ):
            continue
        values = numpy_helper.to_array(table)
        scales = np.abs(values).max(axis=1, keepdims=True) / np.float32(LARGEST)
        scales[scales == 0] = 1
        rounded = np.rint(values / scales).astype(np.int8)
        names = f"{table.name}_quantized", f"{table.name}_scale"
        for reader in readers:
            _replace(model, reader, names)
        graph.initializer.remove(table)
        graph.initializer.extend(
            numpy_helper.from_array(array, name) for array, name in zip((rounded, scales), names, strict=True)
        )
        shrunk.append(table.name)
    return tuple(shrunk)


def _looks_up(node: NodeProto, table: str) -> bool:
    axis = next((get_attribute_value(attribute) for attribute in node.attribute if attribute.name == "axis"), 0)
    return node.op_type == "Gather" and node.input[0] == table and node.input[1] != table and axis == 0


def _replace(model: ModelProto, reader: NodeProto, tables: tuple[str, str]) -> None:
    """Look up the row and its scale, and multiply them, in the place of `reader`."""
    indices, output = reader.input[1], reader.output[0]
    row, scale, number = (f"{output}_{part}" for part in ("row", "scale", "number"))
    nodes = [
        helper.make_node("Gather", [tables[0], indices], [row], name=f"{reader.name}_row"),
        helper.make_node("Gather", [tables[1], indices], [scale], name=f"{reader.name}_scale"),
        helper.make_node("Cast", [row], [number], name=f"{reader.name}_number", to=TensorProto.FLOAT),
        helper.make_node("Mul", [number, scale], [output], name=f"{reader.name}_value"),
    ]
    place = list(model.graph.node).index(reader)
    model.graph.node.remove(reader)
    for offset, node in enumerate(nodes):
        model.graph.node.insert(place + offset, node)
