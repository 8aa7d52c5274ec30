"""The gateway in front of Triton: a real proxy, its whole configuration from gateway.toml."""
