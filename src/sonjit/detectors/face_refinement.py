"""Attention mesh: which landmarks of the mesh its regions' points replace.

Source: Grishchenko et al. 2020, Attention Mesh: High-fidelity Face Mesh Prediction in Real-time; the indices are those
of mediapipe 0.10.21's refinement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MESH = 468
_LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
    76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408,
    62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407,
)  # fmt: skip
# Of either eye the first 16 are its rim; brows and the skin around follow. "Left" is the picture's left.
_LEFT_EYE = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173,
    130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190,
    226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189,
    35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193,
)  # fmt: skip
_RIGHT_EYE = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398,
    359, 255, 339, 254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414,
    446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413,
    265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336, 285, 417,
)  # fmt: skip
_LEFT_IRIS, _RIGHT_IRIS = range(468, 473), range(473, 478)  # centre, then right, top, left, bottom
_TARGETS = np.array([*range(_MESH), *_LIPS, *_LEFT_EYE, *_RIGHT_EYE, *_LEFT_IRIS, *_RIGHT_IRIS])
_SOURCES = np.zeros(478, np.intp)
_SOURCES[_TARGETS] = np.arange(len(_TARGETS))  # of two points for one landmark the later counts
_RIMS = np.array([_LEFT_EYE[:16], _RIGHT_EYE[:16]])


def refined(mesh: NDArray[np.float32], regions: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Landmarks (478, 3) from a mesh (468, 3) and the better points of its regions, all in one unit.

    Args:
        mesh: its depth counts everywhere; that of an iris is its eye's.
        regions: x, y of 80 points of the lips, 71 of the left eye, 71 of the right, 5 of the left iris, 5 of the right.
    """
    flat = np.concatenate([mesh[:, :2], *(region.reshape(-1, 2) for region in regions)])  # (700, 2)
    points = np.empty((478, 3), np.float32)
    points[:, :2] = flat[_SOURCES]
    points[:_MESH, 2] = mesh[:, 2]
    points[_MESH:, 2] = np.repeat(mesh[_RIMS, 2].mean(axis=1), 5)
    return points
