"""Scaling measured on a real cluster: a step of load, a trace replayed, starts. Asks over gRPC and kubectl."""
