"""Define printed boards with exact corners, for rendered calibration images and videos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import FloatArray, Image, RealArray
from sonjit._util.errors import InputError
from sonjit.lab.synthesis.render.drawable import Drawable, Material

_SQUARE_PX: Final = 64  # sizes that halve evenly keep smaller copies of the print in their place
_THICK_M: Final = 0.004
_WHITE: Final = 245
_BLACK: Final = 12


@dataclass(frozen=True, eq=False)
class RenderedBoard:
    """Flat print. Its frame: x right and y down along the print from its upper left corner, z into the board.

    Attributes:
        image: Image (H, W, 3), uint8 RGB, with its white edge.
        size_m: Width and height of the image in metres.
        corners: Inner corners (N, 3) in metres in the board's frame, row by row, in OpenCV's order.
    """

    image: Image
    size_m: tuple[float, float]
    corners: FloatArray

    def placed(self, rotation: RealArray, translation: RealArray) -> FloatArray:
        """Return the corners (N, 3) in the world.

        Args:
            rotation: Rotation (3, 3) of the board in the world.
            translation: Position (3,) of its upper left corner in metres.
        """
        return np.asarray(self.corners @ np.asarray(rotation).T + translation, np.float64)

    def drawable(self, rotation: RealArray, translation: RealArray, instance: int = 200) -> Drawable:
        """Return the board as a mesh with the corners of `placed` and a white back. Its faces are small, so that a lens
        bends it.
        """
        columns, rows = 24, 24
        u, v = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
        uv = np.stack([u, v], -1).reshape(-1, 2)
        front = np.concatenate([uv * self.size_m, np.zeros((len(uv), 1))], 1)
        points = np.concatenate([front, front + np.array([0, 0, _THICK_M])])
        row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        first = row * (columns + 1) + column
        below = first + columns + 1
        faces = np.stack([first, below + 1, below, first, first + 1, below + 1], -1).reshape(-1, 3)
        rotation = np.asarray(rotation, np.float64)
        normals = np.repeat([[0.0, 0, -1], [0, 0, 1]], len(uv), axis=0)
        return Drawable(
            vertices=points @ rotation.T + translation,
            normals=normals @ rotation.T,
            faces=np.concatenate([faces[:, ::-1], faces + len(uv)]).astype(np.int64),
            material=Material("image", (1.0, 1.0, 1.0), roughness=0.8, image=self.image),
            instance=instance,
            uv=np.concatenate([uv, np.zeros_like(uv)]),  # the back shows the white edge's corner
        )


def checkerboard(columns: int, rows: int, square_m: float) -> RenderedBoard:
    """Return a checkerboard with an edge as wide as a square.

    Args:
        columns: Squares along a row; OpenCV's detectors count the corners between them, one less.
        rows: Squares along a column.
        square_m: Side of a square, metres.

    Raises:
        InputError: There are too few squares, or their size is not positive.
    """
    _check(columns, rows, square_m)
    dark = np.add.outer(np.arange(rows), np.arange(columns)) % 2 == 0
    inner = np.kron(np.where(dark, 0, 255).astype(np.uint8), np.ones((_SQUARE_PX, _SQUARE_PX), np.uint8))
    return _board(inner, columns, rows, square_m)


def charuco_board(
    columns: int, rows: int, square_m: float, marker_m: float, dictionary: int = cv2.aruco.DICT_5X5_100
) -> RenderedBoard:
    """Return a checkerboard with a marker in each white square, of which a part identifies its corners.

    Args:
        columns: Squares along a row.
        rows: Squares along a column.
        square_m: Side of a square, metres.
        marker_m: Side of a marker, metres.
        dictionary: Marker dictionary of `cv2.aruco`.

    Raises:
        InputError: There are too few squares or markers, or sizes are not positive or do not fit.
    """
    _check(columns, rows, square_m)
    if not 0 < marker_m < square_m:
        raise InputError(f"markers of {marker_m} m do not fit squares of {square_m} m; make them smaller")
    markers = cv2.aruco.getPredefinedDictionary(dictionary)
    if columns * rows // 2 > len(markers.bytesList):
        raise InputError(f"{columns} x {rows} squares require {columns * rows // 2} markers; the dictionary has fewer")
    board = cv2.aruco.CharucoBoard((columns, rows), square_m, marker_m, markers)
    inner = board.generateImage((columns * _SQUARE_PX, rows * _SQUARE_PX))
    return _board(np.asarray(inner, np.uint8), columns, rows, square_m)


def _check(columns: int, rows: int, square_m: float) -> None:
    if columns < 3 or rows < 3 or not square_m > 0:
        raise InputError(f"a board of {columns} x {rows} squares of {square_m} m: take 3 x 3 or more, above 0 m")


def _board(inner: NDArray[np.uint8], columns: int, rows: int, square_m: float) -> RenderedBoard:
    """Return a print with its edge."""
    grey = np.pad(inner, _SQUARE_PX, constant_values=255)
    ink = np.where(grey > 127, _WHITE, _BLACK).astype(np.uint8)
    x, y = np.meshgrid(np.arange(1, columns), np.arange(1, rows))
    corners = np.stack([x + 1, y + 1, np.zeros_like(x)], -1).reshape(-1, 3) * square_m
    size = ((columns + 2) * square_m, (rows + 2) * square_m)
    return RenderedBoard(np.repeat(ink[..., None], 3, axis=-1), size, corners.astype(np.float64))
