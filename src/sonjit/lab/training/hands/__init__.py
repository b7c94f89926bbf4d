"""Train networks for hands in images: palms, landmarks and keypoint heatmaps."""
