"""Gestures of hands: those of a small trained network, taught ones, and steady ones over time. NumPy alone."""

from sonjit.gestures.classifier import GESTURES, GestureClassifier, gesture_of
from sonjit.gestures.smoothing import GestureSmoother
from sonjit.gestures.taught import GestureRecording, TaughtGestures
from sonjit.results import Gesture

__all__ = [
    "GESTURES",
    "Gesture",
    "GestureClassifier",
    "GestureRecording",
    "GestureSmoother",
    "TaughtGestures",
    "gesture_of",
]
