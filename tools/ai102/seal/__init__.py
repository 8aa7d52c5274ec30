"""Sealed payloads between caller and model, their keys, and encrypted bundles of a model repository.

envelope, tensors, replay and keys need the standard library and `cryptography` alone: a Triton Python model
carries them as copies beside it.
"""
