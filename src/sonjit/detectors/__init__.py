"""What `create_detector` returns: find, crop, landmark, place, carry."""

from sonjit.detectors.create import create_detector
from sonjit.detectors.pipeline import Detector
from sonjit.detectors.smoothing import Filter, OneEuro
from sonjit.detectors.tracked_frames import track

__all__ = ["Detector", "Filter", "OneEuro", "create_detector", "track"]
