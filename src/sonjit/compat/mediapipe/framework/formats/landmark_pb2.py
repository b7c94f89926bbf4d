"""Landmarks and lists of them."""

from sonjit.compat.mediapipe.messages import Message, Repeated


class NormalizedLandmark(Message):
    """A point in an image: x as a part of its width, y of its height, z of its width, nearer is smaller."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    visibility: float = 0.0
    presence: float = 0.0


class Landmark(Message):
    """A point in metres; x right, y down, z away from the camera."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    visibility: float = 0.0
    presence: float = 0.0


class NormalizedLandmarkList(Message):
    """The landmarks of one hand, face or body in the image."""

    landmark: Repeated[NormalizedLandmark] = Repeated(NormalizedLandmark)


class LandmarkList(Message):
    """The landmarks of one hand or body in metres."""

    landmark: Repeated[Landmark] = Repeated(Landmark)


class NormalizedLandmarkListCollection(Message):
    """The landmarks of several in the image."""

    landmark_list: Repeated[NormalizedLandmarkList] = Repeated(NormalizedLandmarkList)


class LandmarkListCollection(Message):
    """The landmarks of several in metres."""

    landmark_list: Repeated[LandmarkList] = Repeated(LandmarkList)
