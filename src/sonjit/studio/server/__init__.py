"""Endpoints of the annotation page."""
