"""Start a real tritonserver: the one on PATH, NVIDIA's, or the one that pip installed."""
