"""Answers to live traffic, of the canary and of the version in service, as ai102_runtime.recording sends them."""
