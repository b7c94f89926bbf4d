"""Data sets of bodies, objects and classes in ordinary images."""
