"""Pairs of face landmark indices to draw as lines: the contours, the irises, the nose and the whole mesh."""

import json
from importlib import resources
from itertools import pairwise

from sonjit.compat.mediapipe.not_covered import name_what_is_covered
from sonjit.compat.mediapipe.solutions.hands_connections import Connection
from sonjit.skeletons import load_skeleton

__all__ = [
    "FACEMESH_CONTOURS",
    "FACEMESH_FACE_OVAL",
    "FACEMESH_IRISES",
    "FACEMESH_LEFT_EYE",
    "FACEMESH_LEFT_EYEBROW",
    "FACEMESH_LEFT_IRIS",
    "FACEMESH_LIPS",
    "FACEMESH_NOSE",
    "FACEMESH_RIGHT_EYE",
    "FACEMESH_RIGHT_EYEBROW",
    "FACEMESH_RIGHT_IRIS",
    "FACEMESH_TESSELATION",
]

Connections = frozenset[Connection]

_SKELETON = load_skeleton("face_mediapipe478")
_NOSE_BRIDGE = (168, 6, 197, 195, 5, 4, 1, 19, 94, 2)
_NOSTRILS = (98, 97, 2, 326, 327, 294, 278, 344, 440, 275, 4, 45, 220, 115, 48, 64, 98)


def _within(group: str) -> Connections:
    members = set(_SKELETON.groups[group])
    return frozenset(pair for pair in _SKELETON.connections if members.issuperset(pair))


def _mesh() -> Connections:
    """Every side of every triangle, once in each one's direction."""
    text = resources.files("sonjit.skeletons").joinpath("face_mediapipe_tesselation.json").read_text("utf-8")
    triangles: list[tuple[int, int, int]] = json.loads(text)["triangles"]
    return frozenset(pair for a, b, c in triangles for pair in ((a, b), (b, c), (c, a)))


FACEMESH_LIPS = _within("lips")
FACEMESH_LEFT_EYE = _within("leftEye")
FACEMESH_LEFT_IRIS = _within("leftIris")
FACEMESH_LEFT_EYEBROW = _within("leftEyebrow")
FACEMESH_RIGHT_EYE = _within("rightEye")
FACEMESH_RIGHT_EYEBROW = _within("rightEyebrow")
FACEMESH_RIGHT_IRIS = _within("rightIris")
FACEMESH_FACE_OVAL = _within("faceOval")
FACEMESH_NOSE: Connections = frozenset((*pairwise(_NOSE_BRIDGE), *pairwise(_NOSTRILS)))
FACEMESH_IRISES = FACEMESH_LEFT_IRIS | FACEMESH_RIGHT_IRIS
FACEMESH_CONTOURS = frozenset(_SKELETON.connections) - FACEMESH_IRISES
FACEMESH_TESSELATION = _mesh()

name_what_is_covered(globals())
