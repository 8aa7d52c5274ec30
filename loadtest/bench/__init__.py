"""This Triton against its peers and against no server."""
