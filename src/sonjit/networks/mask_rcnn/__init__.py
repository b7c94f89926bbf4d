"""Mask R-CNN and its parts."""
