"""Holds the linter against the real server, on valid models that are changed in every way that may matter."""
