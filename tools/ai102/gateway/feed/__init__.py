"""What changes while a gateway runs: keys, revocations and grants, written to state.json."""
