"""Gestures of hands: a small trained network, custom gestures, gestures over time, and motions. It needs only NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit._util.lazy_names import add_lazy_names

if TYPE_CHECKING:
    from sonjit.gestures.classifier import GESTURES as GESTURES
    from sonjit.gestures.classifier import GestureClassifier as GestureClassifier
    from sonjit.gestures.classifier import GestureSmoother as GestureSmoother
    from sonjit.gestures.classifier import gesture_of as gesture_of
    from sonjit.gestures.custom import CustomGestures as CustomGestures
    from sonjit.gestures.custom import GestureRecording as GestureRecording
    from sonjit.gestures.custom import LearnedGestures as LearnedGestures
    from sonjit.gestures.custom import find_gestures as find_gestures
    from sonjit.gestures.custom import segments_of as segments_of
    from sonjit.gestures.custom_motions import CustomMotions as CustomMotions
    from sonjit.gestures.custom_motions import GestureSegment as GestureSegment
    from sonjit.gestures.custom_motions import MotionRecording as MotionRecording
    from sonjit.gestures.custom_motions import MotionSpotter as MotionSpotter
    from sonjit.gestures.motion_finders import MOTIONS as MOTIONS
    from sonjit.gestures.motions import MotionRecognizer as MotionRecognizer
    from sonjit.results import Gesture as Gesture
    from sonjit.results import MotionEvent as MotionEvent

add_lazy_names(globals(), {
    "GESTURES GestureClassifier GestureSmoother gesture_of": "sonjit.gestures.classifier",
    "CustomGestures GestureRecording LearnedGestures find_gestures segments_of": "sonjit.gestures.custom",
    "CustomMotions GestureSegment MotionRecording MotionSpotter": "sonjit.gestures.custom_motions",
    "MOTIONS": "sonjit.gestures.motion_finders",
    "MotionRecognizer": "sonjit.gestures.motions",
    "Gesture MotionEvent": "sonjit.results",
})  # fmt: skip
