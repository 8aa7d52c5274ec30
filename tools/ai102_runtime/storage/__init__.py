"""Models fetched from an object store before a server starts, by the standard library alone."""
