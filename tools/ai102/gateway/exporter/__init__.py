"""What users of the gateway feel, as Prometheus metrics: counted from its access log, asked of the proxy."""
