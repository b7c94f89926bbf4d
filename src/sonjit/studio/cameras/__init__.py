"""Calibrated cameras and the files that hold them."""
