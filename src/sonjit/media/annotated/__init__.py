"""Annotated images, videos and masks -> files."""
