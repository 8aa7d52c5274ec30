"""What the manifests in k8s/ take from the contract and from measurements; the manifests themselves are Kustomize's."""
