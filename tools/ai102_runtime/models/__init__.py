"""The classes that Triton's Python backend takes as TritonPythonModel; importable inside Triton only."""
