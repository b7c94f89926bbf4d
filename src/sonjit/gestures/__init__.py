"""Gestures of hands: those of a small trained network, taught ones, and steady ones over time. NumPy alone."""

from sonjit.gestures.classifier import GESTURES, GestureClassifier, gesture_of
from sonjit.gestures.custom import CustomGestures, GestureRecording
from sonjit.gestures.smoothing import GestureSmoother
from sonjit.results import Gesture

__all__ = [
    "GESTURES",
    "CustomGestures",
    "Gesture",
    "GestureClassifier",
    "GestureRecording",
    "GestureSmoother",
    "gesture_of",
]
