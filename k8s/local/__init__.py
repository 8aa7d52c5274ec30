"""A real three-node Kubernetes on this machine, in network namespaces: `python -m k8s.local up`."""
