"""Define the landmarks of a hand, and pairs of them to draw as lines: those of each finger, and the palm's."""

from enum import IntEnum

from sonjit.compat.mediapipe._names import add_covered_names
from sonjit.results.skeletons import Skeleton, load_skeleton

__all__ = [
    "HAND_CONNECTIONS",
    "HAND_INDEX_FINGER_CONNECTIONS",
    "HAND_MIDDLE_FINGER_CONNECTIONS",
    "HAND_PALM_CONNECTIONS",
    "HAND_PINKY_FINGER_CONNECTIONS",
    "HAND_RING_FINGER_CONNECTIONS",
    "HAND_THUMB_CONNECTIONS",
]

Connection = tuple[int, int]


class HandLandmark(IntEnum):
    """Index of each landmark of a hand."""

    WRIST = 0
    THUMB_CMC = 1
    THUMB_MCP = 2
    THUMB_IP = 3
    THUMB_TIP = 4
    INDEX_FINGER_MCP = 5
    INDEX_FINGER_PIP = 6
    INDEX_FINGER_DIP = 7
    INDEX_FINGER_TIP = 8
    MIDDLE_FINGER_MCP = 9
    MIDDLE_FINGER_PIP = 10
    MIDDLE_FINGER_DIP = 11
    MIDDLE_FINGER_TIP = 12
    RING_FINGER_MCP = 13
    RING_FINGER_PIP = 14
    RING_FINGER_DIP = 15
    RING_FINGER_TIP = 16
    PINKY_MCP = 17
    PINKY_PIP = 18
    PINKY_DIP = 19
    PINKY_TIP = 20


def connections_within(skeleton: Skeleton, *groups: str) -> tuple[Connection, ...]:
    """Return the connections of groups of landmarks, group by group, along their contours."""
    members = [set(skeleton.groups[group]) for group in groups]
    return tuple(pair for own in members for pair in skeleton.connections if own.issuperset(pair))


_SKELETON = load_skeleton("hand_mediapipe21")
HAND_CONNECTIONS: frozenset[Connection] = frozenset(_SKELETON.connections)
HAND_PALM_CONNECTIONS: tuple[Connection, ...] = ((0, 1), (0, 5), (9, 13), (13, 17), (5, 9), (0, 17))
HAND_THUMB_CONNECTIONS = connections_within(_SKELETON, "thumb")
HAND_INDEX_FINGER_CONNECTIONS = connections_within(_SKELETON, "indexFinger")
HAND_MIDDLE_FINGER_CONNECTIONS = connections_within(_SKELETON, "middleFinger")
HAND_RING_FINGER_CONNECTIONS = connections_within(_SKELETON, "ringFinger")
HAND_PINKY_FINGER_CONNECTIONS = connections_within(_SKELETON, "pinky")

add_covered_names(globals())
