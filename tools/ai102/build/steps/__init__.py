"""One module a step: it takes a network, files and samples, and writes one file; none of them knows the workspace."""
