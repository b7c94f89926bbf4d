"""Hands, faces, bodies and whole people: what differs between them."""
