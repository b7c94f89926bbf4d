"""Define pairs of face landmark indices to draw as lines: contours, irises, nose and mesh."""

import json
import warnings
from collections.abc import Mapping
from importlib import resources
from itertools import pairwise
from typing import Final

from sonjit.compat.mediapipe._names import add_covered_names
from sonjit.compat.mediapipe.solutions.hands_connections import Connection, connections_within
from sonjit.results.skeletons import load_skeleton

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


def _mesh_connections() -> tuple[Connection, ...]:
    """Return every side of every triangle of the face mesh in the triangle's direction."""
    text = resources.files("sonjit.results.skeletons").joinpath("face_mediapipe_tesselation.json").read_text("utf-8")
    triangles: list[tuple[int, int, int]] = json.loads(text)["triangles"]
    return tuple(pair for a, b, c in triangles for pair in ((a, b), (b, c), (c, a)))


_SKELETON = load_skeleton("face_mediapipe478")
_NOSE_BRIDGE = (168, 6, 197, 195, 5, 4, 1, 19, 94, 2)
_NOSTRILS = (98, 97, 2, 326, 327, 294, 278, 344, 440, 275, 4, 45, 220, 115, 48, 64, 98)

ORDERED: Final[Mapping[str, tuple[Connection, ...]]] = {
    "LIPS": connections_within(_SKELETON, "lips"),
    "LEFT_EYE": connections_within(_SKELETON, "leftEye"),
    "LEFT_EYEBROW": connections_within(_SKELETON, "leftEyebrow"),
    "LEFT_IRIS": connections_within(_SKELETON, "leftIris"),
    "RIGHT_EYE": connections_within(_SKELETON, "rightEye"),
    "RIGHT_EYEBROW": connections_within(_SKELETON, "rightEyebrow"),
    "RIGHT_IRIS": connections_within(_SKELETON, "rightIris"),
    "FACE_OVAL": connections_within(_SKELETON, "faceOval"),
    "NOSE": (*pairwise(_NOSE_BRIDGE), *pairwise(_NOSTRILS)),
    "CONTOURS": connections_within(_SKELETON, "lips", "leftEye", "leftEyebrow", "rightEye", "rightEyebrow", "faceOval"),
    "TESSELATION": _mesh_connections(),
}
"""Connections in the order of MediaPipe's tasks, which follows the contours so that they can be drawn as polygons."""

FACEMESH_LIPS: Connections = frozenset(ORDERED["LIPS"])
FACEMESH_LEFT_EYE: Connections = frozenset(ORDERED["LEFT_EYE"])
FACEMESH_LEFT_IRIS: Connections = frozenset(ORDERED["LEFT_IRIS"])
FACEMESH_LEFT_EYEBROW: Connections = frozenset(ORDERED["LEFT_EYEBROW"])
FACEMESH_RIGHT_EYE: Connections = frozenset(ORDERED["RIGHT_EYE"])
FACEMESH_RIGHT_EYEBROW: Connections = frozenset(ORDERED["RIGHT_EYEBROW"])
FACEMESH_RIGHT_IRIS: Connections = frozenset(ORDERED["RIGHT_IRIS"])
FACEMESH_FACE_OVAL: Connections = frozenset(ORDERED["FACE_OVAL"])
FACEMESH_NOSE: Connections = frozenset(ORDERED["NOSE"])
FACEMESH_IRISES: Connections = FACEMESH_LEFT_IRIS | FACEMESH_RIGHT_IRIS
FACEMESH_CONTOURS: Connections = frozenset(ORDERED["CONTOURS"])
FACEMESH_TESSELATION: Connections = frozenset(ORDERED["TESSELATION"])


def removed_connections() -> Connections:
    """Return the contours as `FACE_CONNECTIONS`, which MediaPipe has removed and scripts still use."""
    warnings.warn("FACE_CONNECTIONS is now FACEMESH_CONTOURS", DeprecationWarning, stacklevel=4)
    return FACEMESH_CONTOURS


add_covered_names(globals())
