"""The gateway's overhead over direct requests to Triton."""
