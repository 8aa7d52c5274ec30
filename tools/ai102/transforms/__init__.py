"""What happens to an image or a text before the network, and to its scores after.

Calibration, tests and Triton's Python models all use these functions: `ai102 configure` copies the one
module that a model needs into its version folder, so each module stands alone and imports nothing of ours.
"""
