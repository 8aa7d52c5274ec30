"""Triton's backend `openvino` in Python, for where Triton's own is not installed: serves OpenVINO's and ONNX files."""

from ai102_runtime.engine.backend import ServedFile
from ai102_runtime.openvino.engine import KIND


class TritonPythonModel(ServedFile):
    """One instance of one model on OpenVINO."""

    engine_kind = KIND
