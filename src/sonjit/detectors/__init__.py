"""What `create_detector` returns: find, crop, landmark, place, carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.lazy_names import add_lazy_names

if TYPE_CHECKING:
    from sonjit.detectors.create import create_detector
    from sonjit.detectors.pipeline import Detector
    from sonjit.detectors.smoothing import Filter, OneEuro
    from sonjit.detectors.tracked_frames import track

__all__ = ["Detector", "Filter", "OneEuro", "create_detector", "track"]

add_lazy_names(
    globals(),
    {
        ".create": "create_detector",
        ".pipeline": "Detector",
        ".smoothing": "Filter OneEuro",
        ".tracked_frames": "track",
    },
)
