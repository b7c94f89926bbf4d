"""Calibrated cameras and their files."""
