"""What `create_detector` returns: find, crop, landmark, place, carry."""

from sonjit.detectors.create import create_detector
from sonjit.detectors.pipeline import Detector, detect_frames
from sonjit.detectors.smoothing import Filter, OneEuro

__all__ = ["Detector", "Filter", "OneEuro", "create_detector", "detect_frames"]
