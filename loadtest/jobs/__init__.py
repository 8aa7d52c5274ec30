"""How many jobs a second are accepted and done, and what they cost direct calls: `python -m loadtest.jobs`."""
