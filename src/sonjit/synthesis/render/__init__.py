"""Meshes, light and a camera -> images, on OpenGL without a screen."""
