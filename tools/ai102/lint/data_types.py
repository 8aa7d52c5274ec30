"""Triton's data types: their names and how many bytes an element takes."""

from __future__ import annotations

from tritonclient.grpc import model_config_pb2 as pb

BYTES = {
    pb.TYPE_BOOL: 1,
    pb.TYPE_UINT8: 1,
    pb.TYPE_UINT16: 2,
    pb.TYPE_UINT32: 4,
    pb.TYPE_UINT64: 8,
    pb.TYPE_INT8: 1,
    pb.TYPE_INT16: 2,
    pb.TYPE_INT32: 4,
    pb.TYPE_INT64: 8,
    pb.TYPE_FP16: 2,
    pb.TYPE_FP32: 4,
    pb.TYPE_FP64: 8,
    pb.TYPE_BF16: 2,
}


def type_name(data_type: int) -> str:
    """As a config writes it; numbers that have no name stay numbers."""
    value = pb.DataType.DESCRIPTOR.values_by_number.get(data_type)
    return value.name if value is not None else str(data_type)
