"""The one guarded door in front of Triton: a real proxy, its whole configuration from gateway.toml."""
