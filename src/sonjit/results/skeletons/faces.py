"""Landmarks of face meshes: blendshapes, the labels of 300W and WFLW, and the refined regions.

The names of the 52 blendshapes are those of MediaPipe's face landmarker. Apple's ARKit differs in two names: it lacks
the first, which is not an expression, and has `tongueOut`, which no network of Sonjit predicts.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit._util.errors import InputError

NO_EXPRESSION: Final = "_neutral"
"""Output of the blendshape network that is not an expression. ARKit does not have it."""

BLENDSHAPES = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight",
    "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight",
    "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight",
    "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight",
    "mouthFrownLeft", "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft",
    "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight",
)  # fmt: skip
"""In the order of the network's outputs."""

BLENDSHAPE_LANDMARKS = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80,
    81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153,
    154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249,
    251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314,
    317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382,
    384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473,
    474, 475, 476, 477,
)  # fmt: skip
"""Of the 478 of a face mesh, the 146 that the network takes, in its order."""

_RIGHT_JAW: Final = (127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152)
_LEFT_JAW: Final = (152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356)
"""Of the person, from the ear to the chin and from there to the other ear."""
_NOSE: Final = (168, 197, 5, 4, 98, 97, 2, 326, 327)
_OUTER_LIPS: Final = (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91)
_INNER_LIPS: Final = (78, 81, 13, 311, 308, 402, 14, 178)
_VERTICES: Final = {
    "face_300w68": (
        (70, 63, 105, 66, 107), (336, 296, 334, 293, 300), _NOSE,
        (33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380), _OUTER_LIPS, _INNER_LIPS,
    ),
    "face_wflw98": (
        (70, 63, 105, 66, 107, 55, 65, 52, 53), (336, 296, 334, 293, 300, 283, 282, 295, 285), _NOSE,
        (33, 161, 159, 157, 133, 154, 145, 163), (362, 384, 386, 388, 263, 390, 374, 381), _OUTER_LIPS, _INNER_LIPS,
    ),
}  # fmt: skip
"""After the jaw, in the labels' order: brows, nose, eyes, lips."""
_PUPILS: Final = (((33, 160, 158, 133, 153, 144), 468), ((362, 385, 387, 263, 373, 380), 473))
"""WFLW's last two: around each eye, and the iris' centre where the mesh has one."""
_JAW_POINTS: Final = {"face_300w68": 17, "face_wflw98": 33}
_MESHES: Final = (468, 478)


def face_points(mesh: ArrayLike, skeleton: str) -> NDArray[np.float64]:
    """Return the labelled points of 300W or WFLW on a face mesh.

    Args:
        mesh: Points (468 or 478, D) of `face_mediapipe468` or `face_mediapipe478`, in pixels.
        skeleton: Name of the labels, `face_300w68` or `face_wflw98`.

    Returns:
        Points (68 or 98, D) in pixels.

    Raises:
        InputError: The skeleton is another one, or the mesh is not a face mesh.

    >>> face_points(np.zeros((468, 2)), "face_300w68").shape
    (68, 2)
    """
    points = np.asarray(mesh, np.float64)
    return face_weights(points, skeleton) @ points


def face_weights(mesh: ArrayLike, skeleton: str) -> NDArray[np.float64]:
    """Return weights (68 or 98, 468 or 478) of the mesh's points for `face_weights(mesh, name) @ mesh`.

    Raises:
        InputError: The skeleton is another one, or the mesh is not a face mesh.
    """
    points = np.asarray(mesh, np.float64)
    if skeleton not in _VERTICES:
        raise InputError(f"{skeleton}: known are {' and '.join(_VERTICES)}")
    if points.ndim != 2 or len(points) not in _MESHES:
        raise InputError(f"mesh {points.shape}: give the points of one face mesh, (468, D) or (478, D)")
    half, unit = _JAW_POINTS[skeleton] // 2 + 1, np.eye(len(points))
    right, left = (_evenly(points, chain, half) for chain in (_RIGHT_JAW, _LEFT_JAW))
    lines = [right, left[1:], *(unit[list(chain)] for chain in _VERTICES[skeleton])]
    if skeleton == "face_wflw98":
        lines += [(unit[iris] if iris < len(points) else unit[list(rim)].mean(0))[None] for rim, iris in _PUPILS]
    return np.concatenate(lines)


def _evenly(points: NDArray[np.float64], chain: tuple[int, ...], count: int) -> NDArray[np.float64]:
    """Return weights (count, N) of equidistant positions, in x and y, along a polyline through points (N, D)."""
    corners = points[list(chain)]
    along = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(corners[:, :2], axis=0), axis=1)))
    distances = np.linspace(0, along[-1], count)
    shares = np.stack([np.interp(distances, along, unit) for unit in np.eye(len(chain))], axis=1)  # (count, corners)
    weights = np.zeros((count, len(points)))
    weights[:, list(chain)] = shares
    return weights


LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
    76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408,
    62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407,
)  # fmt: skip
"""Four rings of 20 around the mouth: the outer rim of the lips, their inner rim, and two between."""
LEFT_EYE = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173,
    130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190,
    226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189,
    35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193,
)  # fmt: skip
"""Of the eye on the image's left: 16 of its rim, then the skin around it and the brow."""
RIGHT_EYE = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398,
    359, 255, 339, 254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414,
    446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413,
    265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336, 285, 417,
)  # fmt: skip
"""Of the eye on its right, the same mirrored."""
