"""Data sets to give away."""
