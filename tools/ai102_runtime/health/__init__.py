"""Health checks that ask something, run as `python3 -m ai102_runtime.health`; the standard library is all they import."""
