"""Health checks that ask something: `python3 -m ai102_runtime.health`. They import the standard library alone."""
