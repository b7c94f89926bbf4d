"""Hands in space and as meshes: InterNet, RootNet, HandOccNet, Deformer."""
