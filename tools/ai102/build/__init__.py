"""From weights to model_repository: the steps, what each depends on, and the versions they make."""
