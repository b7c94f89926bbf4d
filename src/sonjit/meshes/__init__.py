"""Meshes of hands in images and videos: a rigged hand posed to keypoints, or networks that give MANO."""
