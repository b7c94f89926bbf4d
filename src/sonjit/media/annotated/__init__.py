"""Write annotated images, videos and masks."""
