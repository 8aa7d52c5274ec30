"""Data sets that calibration/sets declares, and generated values for networks without one."""
