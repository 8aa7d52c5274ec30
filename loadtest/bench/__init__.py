"""Benchmark of Triton against other servers and against a session without a server."""
