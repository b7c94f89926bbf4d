"""Finger tips and origin of MANO's joints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class JointLayout:
    """Vertices at the finger tips, and the origin of the hand.

    Attributes:
        right: Tip vertices of a right hand: thumb, index, middle, ring, little finger.
        left: Tip vertices of a left hand.
        centred: True if the wrist is the origin, unless a translation is given.
    """

    right: tuple[int, int, int, int, int]
    left: tuple[int, int, int, int, int]
    centred: bool = False
