"""Batching, instances and threads that give the most requests per second under a latency goal, by trying them."""
