"""Name the landmarks of hands, bodies and faces, and define pairs of them to draw as lines."""

from collections.abc import Mapping
from enum import IntEnum
from itertools import chain, pairwise
from typing import Final

from sonjit.compat.mediapipe import _lines
from sonjit.compat.mediapipe._lines import Pair
from sonjit.results.skeletons import load_skeleton
from sonjit.results.skeletons.faces import BLENDSHAPES

Connections = frozenset[Pair]
HandLandmark = IntEnum(
    "HandLandmark",
    """
    WRIST THUMB_CMC THUMB_MCP THUMB_IP THUMB_TIP
    INDEX_FINGER_MCP INDEX_FINGER_PIP INDEX_FINGER_DIP INDEX_FINGER_TIP
    MIDDLE_FINGER_MCP MIDDLE_FINGER_PIP MIDDLE_FINGER_DIP MIDDLE_FINGER_TIP
    RING_FINGER_MCP RING_FINGER_PIP RING_FINGER_DIP RING_FINGER_TIP
    PINKY_MCP PINKY_PIP PINKY_DIP PINKY_TIP
    """,
    start=0,
)
"""Index of each landmark of a hand."""
PoseLandmark = IntEnum(
    "PoseLandmark",
    """
    NOSE LEFT_EYE_INNER LEFT_EYE LEFT_EYE_OUTER RIGHT_EYE_INNER RIGHT_EYE RIGHT_EYE_OUTER LEFT_EAR RIGHT_EAR
    MOUTH_LEFT MOUTH_RIGHT LEFT_SHOULDER RIGHT_SHOULDER LEFT_ELBOW RIGHT_ELBOW LEFT_WRIST RIGHT_WRIST
    LEFT_PINKY RIGHT_PINKY LEFT_INDEX RIGHT_INDEX LEFT_THUMB RIGHT_THUMB LEFT_HIP RIGHT_HIP LEFT_KNEE RIGHT_KNEE
    LEFT_ANKLE RIGHT_ANKLE LEFT_HEEL RIGHT_HEEL LEFT_FOOT_INDEX RIGHT_FOOT_INDEX
    """,
    start=0,
)
"""Index of each landmark of a body; left and right are the person's own."""
FaceKeyPoint = IntEnum(
    "FaceKeyPoint", "RIGHT_EYE LEFT_EYE NOSE_TIP MOUTH_CENTER RIGHT_EAR_TRAGION LEFT_EAR_TRAGION", start=0
)
"""Index of each key point of a face; left and right are the person's own."""
_HAND, _FACE = load_skeleton("hand_mediapipe21"), load_skeleton("face_mediapipe478")
HAND_CONNECTIONS: Connections = frozenset(_HAND.connections)
HAND_PALM_CONNECTIONS: tuple[Pair, ...] = ((0, 1), (0, 5), (9, 13), (13, 17), (5, 9), (0, 17))
_POSE_LINES: Final[tuple[Pair, ...]] = (
    *((0, 1), (1, 2), (2, 3), (3, 7), (0, 4), (4, 5), (5, 6), (6, 8), (9, 10)),
    *((11, 12), (11, 13), (13, 15), (15, 17), (15, 19), (15, 21), (17, 19)),
    *((12, 14), (14, 16), (16, 18), (16, 20), (16, 22), (18, 20)),
    *((11, 23), (12, 24), (23, 24), (23, 25), (24, 26), (25, 27), (26, 28)),
    *((27, 29), (28, 30), (29, 31), (30, 32), (27, 31), (28, 32)),
)
POSE_CONNECTIONS: Connections = frozenset(_POSE_LINES)
_CONTOURS: Final = ("lips", "leftEye", "leftEyebrow", "rightEye", "rightEyebrow", "faceOval")
_NOSE_BRIDGE: Final = (168, 6, 197, 195, 5, 4, 1, 19, 94, 2)
_NOSTRILS: Final = (98, 97, 2, 326, 327, 294, 278, 344, 440, 275, 4, 45, 220, 115, 48, 64, 98)
FACEMESH_NUM_LANDMARKS, FACEMESH_NUM_LANDMARKS_WITH_IRISES = 468, 478
Blendshapes = IntEnum("Blendshapes", [_lines.constant_name(name.removeprefix("_")) for name in BLENDSHAPES], start=0)
"""Index of each blendshape."""
HAND_THUMB_CONNECTIONS = _lines.within(_HAND, "thumb")
HAND_INDEX_FINGER_CONNECTIONS = _lines.within(_HAND, "indexFinger")
HAND_MIDDLE_FINGER_CONNECTIONS = _lines.within(_HAND, "middleFinger")
HAND_RING_FINGER_CONNECTIONS = _lines.within(_HAND, "ringFinger")
HAND_PINKY_FINGER_CONNECTIONS = _lines.within(_HAND, "pinky")
_FACE_LINES: Final[Mapping[str, tuple[Pair, ...]]] = {
    **{_lines.constant_name(group): _lines.within(_FACE, group) for group in (*_CONTOURS, "leftIris", "rightIris")},
    "NOSE": (*pairwise(_NOSE_BRIDGE), *pairwise(_NOSTRILS)),
    "CONTOURS": _lines.within(_FACE, *_CONTOURS),
    "TESSELATION": _lines.mesh_connections(),
}
FACEMESH_LIPS: Connections = frozenset(_FACE_LINES["LIPS"])
FACEMESH_LEFT_EYE: Connections = frozenset(_FACE_LINES["LEFT_EYE"])
FACEMESH_LEFT_IRIS: Connections = frozenset(_FACE_LINES["LEFT_IRIS"])
FACEMESH_LEFT_EYEBROW: Connections = frozenset(_FACE_LINES["LEFT_EYEBROW"])
FACEMESH_RIGHT_EYE: Connections = frozenset(_FACE_LINES["RIGHT_EYE"])
FACEMESH_RIGHT_EYEBROW: Connections = frozenset(_FACE_LINES["RIGHT_EYEBROW"])
FACEMESH_RIGHT_IRIS: Connections = frozenset(_FACE_LINES["RIGHT_IRIS"])
FACEMESH_FACE_OVAL: Connections = frozenset(_FACE_LINES["FACE_OVAL"])
FACEMESH_NOSE: Connections = frozenset(_FACE_LINES["NOSE"])
FACEMESH_IRISES: Connections = FACEMESH_LEFT_IRIS | FACEMESH_RIGHT_IRIS
FACEMESH_CONTOURS: Connections = frozenset(_FACE_LINES["CONTOURS"])
FACEMESH_TESSELATION: Connections = frozenset(_FACE_LINES["TESSELATION"])
_HAND_LINES: Final = {
    "HAND_PALM_CONNECTIONS": HAND_PALM_CONNECTIONS,
    "HAND_THUMB_CONNECTIONS": HAND_THUMB_CONNECTIONS,
    "HAND_INDEX_FINGER_CONNECTIONS": HAND_INDEX_FINGER_CONNECTIONS,
    "HAND_MIDDLE_FINGER_CONNECTIONS": HAND_MIDDLE_FINGER_CONNECTIONS,
    "HAND_RING_FINGER_CONNECTIONS": HAND_RING_FINGER_CONNECTIONS,
    "HAND_PINKY_FINGER_CONNECTIONS": HAND_PINKY_FINGER_CONNECTIONS,
}
HandLandmarksConnections = _lines.class_of(
    "HandLandmarksConnections", __name__, {**_HAND_LINES, "HAND_CONNECTIONS": [*chain(*_HAND_LINES.values())]}
)
PoseLandmarksConnections = _lines.class_of("PoseLandmarksConnections", __name__, {"POSE_LANDMARKS": _POSE_LINES})
FaceLandmarksConnections = _lines.class_of(
    "FaceLandmarksConnections", __name__, {f"FACE_LANDMARKS_{name}": pairs for name, pairs in _FACE_LINES.items()}
)
