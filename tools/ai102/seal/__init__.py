"""Sealed payloads between caller and model, their keys, and encrypted bundles of a model repository.

envelope, failures, keys, private, replay and tensors need the standard library and `cryptography` alone: a Triton
Python model carries them as copies beside it.
"""
