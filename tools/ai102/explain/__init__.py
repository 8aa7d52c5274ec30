"""A running server's statistics, in words: where time goes, whether batches form, what to change."""
