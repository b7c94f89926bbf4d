"""The labels of 300W and WFLW on a face mesh."""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit._util import InputError

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
    """Return points (N, D) in the order of 300W (68) or WFLW (98) of a mesh (468, D) or (478, D), in its unit."""
    points = np.asarray(mesh, np.float64)
    return face_weights(points, skeleton) @ points


def face_weights(mesh: ArrayLike, skeleton: str) -> NDArray[np.float64]:
    """Return weights (N, M), shares of sum 1, for the points of a mesh (M, D): `face_weights(mesh, name) @ mesh`.

    N is 68 for 300W and 98 for WFLW; M is 468 or 478.
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
