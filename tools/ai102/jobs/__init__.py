"""Asynchronous jobs: accepted into a ledger, announced on a queue, done by workers, results kept for a while."""
