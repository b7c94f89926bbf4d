"""Detected hands in camera space: InterNet for their joints, RootNet or their size for the depth, a camera."""

from sonjit.lifting.create import Lift, create_lifter

__all__ = ["Lift", "create_lifter"]
