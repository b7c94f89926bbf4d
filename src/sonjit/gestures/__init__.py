"""Gestures of hands: a small trained network, custom gestures, gestures over time, and motions. It needs only NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit._util.lazy_names import add_lazy_names

if TYPE_CHECKING:
    from sonjit.gestures.classifier import GESTURES, GestureClassifier, GestureSmoother, gesture_of
    from sonjit.gestures.custom import CustomGestures, GestureRecording, LearnedGestures, find_gestures, segments_of
    from sonjit.gestures.custom_motions import CustomMotions, GestureSegment, MotionRecording, MotionSpotter
    from sonjit.gestures.motion_finders import MOTIONS
    from sonjit.gestures.motions import MotionRecognizer
    from sonjit.results import Gesture, MotionEvent

__all__ = [
    "GESTURES", "MOTIONS", "CustomGestures", "CustomMotions", "Gesture", "GestureClassifier", "GestureRecording",
    "GestureSegment", "GestureSmoother", "LearnedGestures", "MotionEvent", "MotionRecognizer", "MotionRecording",
    "MotionSpotter", "find_gestures", "gesture_of", "segments_of",
]  # fmt: skip

add_lazy_names(globals(), {
    "GESTURES GestureClassifier GestureSmoother gesture_of": "sonjit.gestures.classifier",
    "CustomGestures GestureRecording LearnedGestures find_gestures segments_of": "sonjit.gestures.custom",
    "CustomMotions GestureSegment MotionRecording MotionSpotter": "sonjit.gestures.custom_motions",
    "MOTIONS": "sonjit.gestures.motion_finders",
    "MotionRecognizer": "sonjit.gestures.motions",
    "Gesture MotionEvent": "sonjit.results",
})  # fmt: skip
