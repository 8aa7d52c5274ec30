"""model_repository: what Triton reads, written from the contract."""
