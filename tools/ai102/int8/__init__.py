"""Ranges and a recipe in, INT8 graphs out: one emitter per target."""
