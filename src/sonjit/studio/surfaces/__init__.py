"""Surfaces of hands over a recording: the rigged hand or MANO, fitted to joints in space, and drawn over the views."""
