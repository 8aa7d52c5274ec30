"""What our own HTTP services tell Prometheus."""
