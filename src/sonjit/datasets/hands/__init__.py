"""Data sets of hands."""
