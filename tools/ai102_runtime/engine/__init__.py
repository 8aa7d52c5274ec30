"""What the backends of all engines share: batches, checks, completed configs; an engine itself is opened and run."""
