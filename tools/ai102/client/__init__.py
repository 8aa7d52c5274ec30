"""Call a running Triton over HTTP or gRPC; needs numpy and tritonclient, nothing else of this repository."""

from ai102.client.client import Client, InferenceError, bytes_array

__all__ = ["Client", "InferenceError", "bytes_array"]
