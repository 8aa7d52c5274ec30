// k8s.io/kubernetes requires this module, which no module proxy serves and nothing of ours imports.
module k8s.io/sample-cli-plugin

go 1.26.0
