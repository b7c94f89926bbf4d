"""Content of a rendered scene: people, poses, contact, objects, light and cameras."""
