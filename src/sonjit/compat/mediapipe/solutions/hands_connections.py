"""Define pairs of hand landmark indices to draw as lines: those of each finger, and the palm's."""

from sonjit.compat.mediapipe.not_covered import install_attribute_errors
from sonjit.compat.mediapipe.solutions.connection_groups import Connection, connections_within
from sonjit.results.skeletons import load_skeleton

__all__ = [
    "HAND_CONNECTIONS",
    "HAND_INDEX_FINGER_CONNECTIONS",
    "HAND_MIDDLE_FINGER_CONNECTIONS",
    "HAND_PALM_CONNECTIONS",
    "HAND_PINKY_FINGER_CONNECTIONS",
    "HAND_RING_FINGER_CONNECTIONS",
    "HAND_THUMB_CONNECTIONS",
]

_SKELETON = load_skeleton("hand_mediapipe21")
HAND_CONNECTIONS: frozenset[Connection] = frozenset(_SKELETON.connections)
HAND_PALM_CONNECTIONS: tuple[Connection, ...] = ((0, 1), (0, 5), (9, 13), (13, 17), (5, 9), (0, 17))
HAND_THUMB_CONNECTIONS = connections_within(_SKELETON, "thumb")
HAND_INDEX_FINGER_CONNECTIONS = connections_within(_SKELETON, "indexFinger")
HAND_MIDDLE_FINGER_CONNECTIONS = connections_within(_SKELETON, "middleFinger")
HAND_RING_FINGER_CONNECTIONS = connections_within(_SKELETON, "ringFinger")
HAND_PINKY_FINGER_CONNECTIONS = connections_within(_SKELETON, "pinky")

install_attribute_errors(globals())
