"""Hands of persons as meshes: shape, skin, gloves, rings, forearm and sleeve."""
