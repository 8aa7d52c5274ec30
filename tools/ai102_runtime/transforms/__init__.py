"""What happens to an image or a text before the network, and to its scores after.

Calibration, tests and the pipeline steps inside Triton all use these functions. Each module needs numpy and at most
one other library.
"""
