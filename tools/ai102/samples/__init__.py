"""Data sets as calibration/sets declares them, and values where there is none."""
