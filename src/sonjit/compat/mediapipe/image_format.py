"""Formats of images."""

from __future__ import annotations

from enum import Enum, IntEnum


class ImageFormat(IntEnum):
    """Format of an image's numbers."""

    SRGB = 1
    SRGBA = 2
    GRAY8 = 3
    GRAY16 = 4
    SRGB48 = 7
    SRGBA64 = 8
    VEC32F1 = 9
    SBGRA = 11
    VEC32F2 = 12

    __str__ = Enum.__str__
