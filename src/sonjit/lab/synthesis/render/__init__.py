"""Render meshes, light and a camera to images with OpenGL, without a screen."""
