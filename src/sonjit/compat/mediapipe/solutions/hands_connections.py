"""Pairs of hand landmark indices to draw as lines: each finger's own, and the palm's, which join them."""

from sonjit.compat.mediapipe.not_covered import name_what_is_covered
from sonjit.skeletons import load_skeleton

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

_SKELETON = load_skeleton("hand_mediapipe21")


def _within(group: str) -> tuple[Connection, ...]:
    members = set(_SKELETON.groups[group])
    return tuple(pair for pair in _SKELETON.connections if members.issuperset(pair))


HAND_THUMB_CONNECTIONS = _within("thumb")
HAND_INDEX_FINGER_CONNECTIONS = _within("indexFinger")
HAND_MIDDLE_FINGER_CONNECTIONS = _within("middleFinger")
HAND_RING_FINGER_CONNECTIONS = _within("ringFinger")
HAND_PINKY_FINGER_CONNECTIONS = _within("pinky")
HAND_CONNECTIONS: frozenset[Connection] = frozenset(_SKELETON.connections)
HAND_PALM_CONNECTIONS = tuple(
    pair for pair in _SKELETON.connections if not any(set(pair) <= set(g) for g in _SKELETON.groups.values())
)

name_what_is_covered(globals())
