"""A 2D keypoint detector of heatmaps, for the annotation studio."""
