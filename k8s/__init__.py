"""Kubernetes: manifests in base/, components/ and overlays/; local/ is a cluster on this machine."""
