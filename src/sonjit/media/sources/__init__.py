"""What the user names -> frames: images, folders, videos, cameras."""
