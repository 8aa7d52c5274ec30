"""From a network of the contract to its models in model_repository: the steps, and what each of them is made from."""
