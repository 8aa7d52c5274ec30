module ai102.invalid/metrics-server

go 1.26.0

tool sigs.k8s.io/metrics-server/cmd/metrics-server

require sigs.k8s.io/metrics-server v0.8.0
