"""Sonjit: hands in images, video and a live camera, offline, on an ordinary CPU."""
