"""Recipes for hands in space: InterNet, RootNet, HandOccNet, Deformer."""
