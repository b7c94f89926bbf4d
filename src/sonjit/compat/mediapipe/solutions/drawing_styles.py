"""Colours for hands, faces and bodies.

Hands have red knuckles, a grey palm and one colour per finger. Faces and bodies have one colour for each side of the
person.
"""

from sonjit._util import InputError
from sonjit.compat.mediapipe import _connections as lines
from sonjit.compat.mediapipe._connections import Connections, HandLandmark, Pair, PoseLandmark
from sonjit.compat.mediapipe._names import add_covered_names
from sonjit.compat.mediapipe.solutions.drawing_utils import WHITE_COLOR, Color, DrawingSpec

__all__ = [
    "get_default_face_mesh_contours_style",
    "get_default_face_mesh_iris_connections_style",
    "get_default_face_mesh_tesselation_style",
    "get_default_hand_connections_style",
    "get_default_hand_landmarks_style",
    "get_default_pose_landmarks_style",
]

_RED: Color = (48, 48, 255)
_GREEN: Color = (48, 255, 48)
_BLUE: Color = (192, 101, 21)
_YELLOW: Color = (0, 204, 255)
_GREY: Color = (128, 128, 128)
_FINGERS: list[tuple[Color, tuple[Pair, ...]]] = [
    ((180, 229, 255), lines.HAND_THUMB_CONNECTIONS),
    ((128, 64, 128), lines.HAND_INDEX_FINGER_CONNECTIONS),
    (_YELLOW, lines.HAND_MIDDLE_FINGER_CONNECTIONS),
    (_GREEN, lines.HAND_RING_FINGER_CONNECTIONS),
    (_BLUE, lines.HAND_PINKY_FINGER_CONNECTIONS),
]
_CONTOURS: list[list[tuple[Color, Connections]]] = [
    [
        (WHITE_COLOR, lines.FACEMESH_LIPS | lines.FACEMESH_FACE_OVAL),
        (_GREEN, lines.FACEMESH_LEFT_EYE | lines.FACEMESH_LEFT_EYEBROW),
        (_RED, lines.FACEMESH_RIGHT_EYE | lines.FACEMESH_RIGHT_EYEBROW),
    ],
    [
        (WHITE_COLOR, lines.FACEMESH_FACE_OVAL),
        (_BLUE, lines.FACEMESH_LIPS),
        (_YELLOW, lines.FACEMESH_NOSE),
        ((192, 255, 48), lines.FACEMESH_LEFT_EYE),
        (_GREEN, lines.FACEMESH_LEFT_EYEBROW),
        ((192, 48, 255), lines.FACEMESH_RIGHT_EYE),
        (_RED, lines.FACEMESH_RIGHT_EYEBROW),
    ],
]
_IRISES: list[tuple[Color, Connections]] = [(_GREEN, lines.FACEMESH_LEFT_IRIS), (_RED, lines.FACEMESH_RIGHT_IRIS)]
_LEFT_SIDE: Color = (0, 138, 255)
_RIGHT_SIDE: Color = (231, 217, 0)
_DOT_RADIUS = 5
_FILLED = -1


def get_default_hand_landmarks_style() -> dict[HandLandmark, DrawingSpec]:
    """Return a filled dot per landmark in its finger's colour, red at the palm."""
    colors = dict.fromkeys(HandLandmark, _RED)
    for color, pairs in _FINGERS:
        colors.update({HandLandmark(outer): color for _, outer in pairs})
    return {landmark: DrawingSpec(color, _FILLED, _DOT_RADIUS) for landmark, color in colors.items()}


def get_default_hand_connections_style() -> dict[Pair, DrawingSpec]:
    """Return a line per connection in its finger's colour, thicker and grey for the palm."""
    style = {pair: DrawingSpec(_GREY, thickness=3) for pair in lines.HAND_PALM_CONNECTIONS}
    return style | {pair: DrawingSpec(color, thickness=2) for color, pairs in _FINGERS for pair in pairs}


def get_default_face_mesh_contours_style(i: int = 0) -> dict[Pair, DrawingSpec]:
    """Return a line per connection of the contours.

    Args:
        i: 0 for white lips and oval and one colour per side; 1 for a colour per part, and for the nose as well.
    """
    if i not in (0, 1):
        raise InputError(f"i={i}: give 0 or 1")
    return _lines(_CONTOURS[i])


def get_default_face_mesh_tesselation_style() -> DrawingSpec:
    """Thin grey lines."""
    return DrawingSpec(_GREY, thickness=1)


def get_default_face_mesh_iris_connections_style() -> dict[Pair, DrawingSpec]:
    """Return a line per connection of the irises, green for the left eye and red for the right eye."""
    return _lines(_IRISES)


def get_default_pose_landmarks_style() -> dict[PoseLandmark, DrawingSpec]:
    """Return a dot per landmark, orange for the left side, blue for the right side and white for the nose."""
    colors = {"LEFT": _LEFT_SIDE, "RIGHT": _RIGHT_SIDE}
    sides = {mark: next((side for side in colors if side in mark.name.split("_")), "") for mark in PoseLandmark}
    return {mark: DrawingSpec(colors.get(side, WHITE_COLOR)) for mark, side in sides.items()}


def _lines(colors: list[tuple[Color, Connections]]) -> dict[Pair, DrawingSpec]:
    return {pair: DrawingSpec(color) for color, pairs in colors for pair in pairs}


add_covered_names(globals())
