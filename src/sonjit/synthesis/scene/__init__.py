"""What a rendered scene holds: people, poses, places, contact, objects, light, cameras."""
