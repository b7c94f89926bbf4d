"""The multi-view studio: calibrated cameras, triangulation, annotation, release (extra `[studio]`)."""
