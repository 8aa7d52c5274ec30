"""Triton's data types: their names and how many bytes an element takes."""

from __future__ import annotations

from tritonclient.grpc import model_config_pb2 as pb

from ai102_runtime.data_types import DATA_TYPES

BYTES = {pb.DataType.Value(kind.config_name): kind.element_bytes for kind in DATA_TYPES if kind.element_bytes}


def type_name(data_type: int) -> str:
    """As a config writes it; numbers that have no name stay numbers."""
    value = pb.DataType.DESCRIPTOR.values_by_number.get(data_type)
    return value.name if value is not None else str(data_type)
