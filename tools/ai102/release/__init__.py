"""Releases: what callers get, as signed records that nobody can change, and how one is put into service."""
