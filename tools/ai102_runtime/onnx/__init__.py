"""ONNX files on ONNX Runtime, with the config and the parameters of NVIDIA's own backend."""
