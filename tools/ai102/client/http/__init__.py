"""Triton over HTTP: messages as bytes, and the connections that carry them."""
