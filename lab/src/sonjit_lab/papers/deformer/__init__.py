"""Deformer: mesh and joints of one hand in a video."""
