"""Quantized graphs read back: what TensorRT would refuse, or quietly run otherwise than meant."""
