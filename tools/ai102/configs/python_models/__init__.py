"""The code of the models that are no networks; `ai102 configure` copies it into model_repository.

They run inside Triton, also where nothing of this package is installed: besides numpy and Triton's own module
each step imports one library and its one module of ai102.transforms, which is copied beside it.

A step is a module with a class `Step`: made from its parameters, the names of its inputs and outputs, its folder and
its network's labels.txt; `run` takes arrays by name and returns arrays by name, and raises ValueError with what is
wrong with the request. `one_step.py` serves a step as a model, `one_process.py` a whole ensemble with its network.
"""
