"""Scenes -> labelled samples -> files in a folder."""
