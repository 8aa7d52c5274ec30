"""TensorRT: plans from ONNX files, where they load, and what they compute in INT8."""
