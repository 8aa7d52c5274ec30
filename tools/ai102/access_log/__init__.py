"""The gateway's access log: what a row says of a call. Metrics count by it, and documents of logs name it."""
