"""The ledger: the SQL table of all jobs. A job is accepted when its row is committed; nothing else may lose it."""
