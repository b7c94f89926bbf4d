"""Gestures of hands: those of a small trained network, custom ones, steady ones over time, and motions. NumPy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.lazy_names import add_lazy_names

if TYPE_CHECKING:
    from sonjit.gestures.classifier import GESTURES, GestureClassifier, gesture_of
    from sonjit.gestures.custom import CustomGestures, GestureRecording
    from sonjit.gestures.custom_motions import CustomMotions, GestureSegment, MotionRecording, MotionSpotter
    from sonjit.gestures.learned import LearnedGestures, find_gestures, segments_of
    from sonjit.gestures.motions.events import MOTIONS
    from sonjit.gestures.motions.recognizer import MotionRecognizer
    from sonjit.gestures.smoothing import GestureSmoother
    from sonjit.results import Gesture, MotionEvent

__all__ = [
    "GESTURES",
    "MOTIONS",
    "CustomGestures",
    "CustomMotions",
    "Gesture",
    "GestureClassifier",
    "GestureRecording",
    "GestureSegment",
    "GestureSmoother",
    "LearnedGestures",
    "MotionEvent",
    "MotionRecognizer",
    "MotionRecording",
    "MotionSpotter",
    "find_gestures",
    "gesture_of",
    "segments_of",
]

add_lazy_names(
    globals(),
    {
        ".classifier": "GESTURES GestureClassifier gesture_of",
        ".custom": "CustomGestures GestureRecording",
        ".custom_motions": "CustomMotions GestureSegment MotionRecording MotionSpotter",
        ".learned": "LearnedGestures find_gestures segments_of",
        ".motions.events": "MOTIONS",
        ".motions.recognizer": "MotionRecognizer",
        ".smoothing": "GestureSmoother",
        "sonjit.results": "Gesture MotionEvent",
    },
)
