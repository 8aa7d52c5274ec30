"""The `model.py` of each kind of Python model; `ai102 configure` copies them into model_repository.

They run inside Triton, also where nothing of this package is installed: besides numpy and Triton's own module
each imports one library and its one module of ai102.transforms, which is copied beside it.
"""
