"""Pairs of landmark indices to draw as lines, as lists of `Connection`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from sonjit.compat.mediapipe.solutions import face_mesh_connections as face
from sonjit.compat.mediapipe.solutions import hands_connections as hands
from sonjit.compat.mediapipe.solutions.pose_connections import POSE_CONNECTIONS


@dataclass(frozen=True)
class Connection:
    """A line from one landmark to another."""

    start: int
    end: int


def _connections(pairs: Iterable[tuple[int, int]]) -> list[Connection]:
    return [Connection(*pair) for pair in sorted(pairs)]


class HandLandmarksConnections:
    """The lines of a hand."""

    Connection: ClassVar = Connection
    HAND_PALM_CONNECTIONS: ClassVar = _connections(hands.HAND_PALM_CONNECTIONS)
    HAND_THUMB_CONNECTIONS: ClassVar = _connections(hands.HAND_THUMB_CONNECTIONS)
    HAND_INDEX_FINGER_CONNECTIONS: ClassVar = _connections(hands.HAND_INDEX_FINGER_CONNECTIONS)
    HAND_MIDDLE_FINGER_CONNECTIONS: ClassVar = _connections(hands.HAND_MIDDLE_FINGER_CONNECTIONS)
    HAND_RING_FINGER_CONNECTIONS: ClassVar = _connections(hands.HAND_RING_FINGER_CONNECTIONS)
    HAND_PINKY_FINGER_CONNECTIONS: ClassVar = _connections(hands.HAND_PINKY_FINGER_CONNECTIONS)
    HAND_CONNECTIONS: ClassVar = _connections(hands.HAND_CONNECTIONS)


class PoseLandmarksConnections:
    """The lines of a body."""

    Connection: ClassVar = Connection
    POSE_LANDMARKS: ClassVar = _connections(POSE_CONNECTIONS)


class FaceLandmarksConnections:
    """The lines of a face."""

    Connection: ClassVar = Connection
    FACE_LANDMARKS_LIPS: ClassVar = _connections(face.FACEMESH_LIPS)
    FACE_LANDMARKS_LEFT_EYE: ClassVar = _connections(face.FACEMESH_LEFT_EYE)
    FACE_LANDMARKS_LEFT_EYEBROW: ClassVar = _connections(face.FACEMESH_LEFT_EYEBROW)
    FACE_LANDMARKS_LEFT_IRIS: ClassVar = _connections(face.FACEMESH_LEFT_IRIS)
    FACE_LANDMARKS_RIGHT_EYE: ClassVar = _connections(face.FACEMESH_RIGHT_EYE)
    FACE_LANDMARKS_RIGHT_EYEBROW: ClassVar = _connections(face.FACEMESH_RIGHT_EYEBROW)
    FACE_LANDMARKS_RIGHT_IRIS: ClassVar = _connections(face.FACEMESH_RIGHT_IRIS)
    FACE_LANDMARKS_FACE_OVAL: ClassVar = _connections(face.FACEMESH_FACE_OVAL)
    FACE_LANDMARKS_NOSE: ClassVar = _connections(face.FACEMESH_NOSE)
    FACE_LANDMARKS_CONTOURS: ClassVar = _connections(face.FACEMESH_CONTOURS)
    FACE_LANDMARKS_TESSELATION: ClassVar = _connections(face.FACEMESH_TESSELATION)
