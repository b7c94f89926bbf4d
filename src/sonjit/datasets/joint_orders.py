"""In which order data sets keep a hand's joints: where MediaPipe's 21 keypoints stand in each.

Sources: the sets' own pages and codes. STB keeps the palm's centre instead of a wrist, see `stb`.
"""

from __future__ import annotations

from typing import Final

MEDIAPIPE: Final = tuple(range(21))
"""FreiHAND and DexYCB have it too."""

INTERHAND: Final = (20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16)
"""InterHand2.6M: tips first, wrist last."""

RHD: Final = (0, 4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17)
"""Wrist first, then each finger from its tip."""

STB: Final = (0, 17, 18, 19, 20, 13, 14, 15, 16, 9, 10, 11, 12, 5, 6, 7, 8, 1, 2, 3, 4)
"""Palm centre first, then from the little finger to the thumb."""

FPHA: Final = (0, 1, 6, 7, 8, 2, 9, 10, 11, 3, 12, 13, 14, 4, 15, 16, 17, 5, 18, 19, 20)
"""Wrist, all knuckles, then the rest of each finger."""

MANO: Final = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
"""HO-3D: MANO's 16 joints (index, middle, little, ring, thumb), then the tips of thumb to little finger."""
