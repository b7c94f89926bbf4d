"""Frames -> table files and back: JSON, JSON Lines, CSV, Parquet."""
