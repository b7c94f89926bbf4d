"""Mask R-CNN and its modules."""
