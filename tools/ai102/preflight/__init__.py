"""Whether a machine, or a container, is fit to build and serve: what it has, what is wanted, what to do."""
