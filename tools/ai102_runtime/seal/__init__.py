"""Sealed payloads between a caller and a model: the envelope, its keys, replay protection, tensors as bytes."""
