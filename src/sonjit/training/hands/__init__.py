"""Recipes for hands in images: palms, landmarks, keypoint heatmaps."""
