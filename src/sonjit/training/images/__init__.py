"""Recipes for whole images: Mask R-CNN and class activation maps."""
