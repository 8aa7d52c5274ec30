"""Traces of real traffic: the files of this folder or of another, read into one form."""
