"""Helpers of every package: errors, files, data files, processes and optional imports."""
