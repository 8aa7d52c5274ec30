"""The quality gate of a release: known samples replayed through a canary, judged by its answers."""
