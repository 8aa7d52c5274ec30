"""Tensors in shared memory of one host."""
