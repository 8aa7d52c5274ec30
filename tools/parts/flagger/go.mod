module ai102.invalid/flagger

go 1.26.0

tool github.com/fluxcd/flagger/cmd/flagger

require github.com/fluxcd/flagger v1.44.0
