"""The stack of compose.yaml: what it needs before it starts, its start, and a first question to it."""
