"""From a checked ONNX file to what a target runs; one module per target."""
