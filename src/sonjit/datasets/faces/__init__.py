"""Data sets of faces."""
