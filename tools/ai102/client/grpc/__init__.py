"""Triton over gRPC: messages, and the channels that carry them."""
