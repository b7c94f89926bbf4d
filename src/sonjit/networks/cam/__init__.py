"""Classifiers with class activation maps."""
