"""OpenVINO and ONNX files on OpenVINO, with the config and the parameters of Triton's own backend."""
