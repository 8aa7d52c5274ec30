"""Reading from Prometheus: its HTTP API, and the metrics that a process exposes."""
