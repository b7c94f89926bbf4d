"""Hands that a detector found, in the camera's space: networks that see both at once, roots' depths, a camera."""

from sonjit.lifting.create import Lift, create_lifter

__all__ = ["Lift", "create_lifter"]
