"""Searches for the batching, instances and threads with the highest request rate under a latency goal."""
