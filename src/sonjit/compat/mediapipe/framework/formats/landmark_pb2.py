"""Re-export the names of `mediapipe.framework.formats.landmark_pb2`."""

from sonjit.compat.mediapipe.message_types import Landmark as Landmark
from sonjit.compat.mediapipe.message_types import LandmarkList as LandmarkList
from sonjit.compat.mediapipe.message_types import LandmarkListCollection as LandmarkListCollection
from sonjit.compat.mediapipe.message_types import NormalizedLandmark as NormalizedLandmark
from sonjit.compat.mediapipe.message_types import NormalizedLandmarkList as NormalizedLandmarkList
from sonjit.compat.mediapipe.message_types import NormalizedLandmarkListCollection as NormalizedLandmarkListCollection
