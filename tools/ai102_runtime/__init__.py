"""What runs inside tritonserver: the backend for ONNX models, pipeline steps, sealed models, and their transforms.

The package imports nothing of `ai102` and runs on Python 3.10, which NVIDIA's containers have. A model of the
repository is a generated model.py of a few lines that names what it takes from here.
"""
