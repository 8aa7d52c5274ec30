"""Writes the text files of model_repository from the contract."""
