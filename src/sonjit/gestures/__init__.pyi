"""Public names of `sonjit.gestures`. `names_from_stub` reads this file."""

from sonjit.gestures.classifier import GESTURES as GESTURES
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
