"""Read frames from images, folders, videos and cameras."""
