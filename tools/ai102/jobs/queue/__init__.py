"""The queue: which jobs are to be begun. It may lose and repeat what it is given: the ledger knows better."""
