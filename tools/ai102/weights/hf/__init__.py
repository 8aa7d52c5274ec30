"""Checkpoints in Hugging Face's format, as sources of weights."""
