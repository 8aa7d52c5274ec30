"""The road from model weights to an INT8 endpoint on NVIDIA Triton Inference Server."""
