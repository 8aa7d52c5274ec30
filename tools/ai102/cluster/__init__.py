"""What runs of this project in a Kubernetes, which release, and what is unhealthy and why."""
