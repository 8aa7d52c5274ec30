"""Hand in asynchronous jobs at /v1/jobs of the HTTP API, and fetch their results."""
