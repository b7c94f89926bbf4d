"""Meshes of hands in pictures and videos: a rigged hand posed to keypoints, or networks that give MANO."""
