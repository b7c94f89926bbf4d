"""Printed boards whose corners are known to the last digit: rendered calibration images and films."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import FloatArray, Image, RealArray
from sonjit.errors import InputError
from sonjit.synthesis.render.drawable import Drawable, Material

_SQUARE_PX: Final = 64  # sizes that halve evenly keep smaller copies of the print in their place
_THICK_M: Final = 0.004
_WHITE: Final = 245
_BLACK: Final = 12


@dataclass(frozen=True, eq=False)
class RenderedBoard:
    """A flat print. Its frame: x right and y down along the print from its upper left corner, z into the board.

    Attributes:
        image: (H, W, 3) uint8 RGB of all of it, its white edge included.
        size_m: (width, height) metres of the image.
        corners: (N, 3) metres in the board's frame: corners within the board row by row, as OpenCV counts them.
    """

    image: Image
    size_m: tuple[float, float]
    corners: FloatArray

    def placed(self, rotation: RealArray, translation: RealArray) -> FloatArray:
        """(N, 3) corners in the world.

        Args:
            rotation: (3, 3) of the board in the world.
            translation: (3,) metres, where its upper left corner is.
        """
        return np.asarray(self.corners @ np.asarray(rotation).T + translation, np.float64)

    def drawable(self, rotation: RealArray, translation: RealArray, instance: int = 200) -> Drawable:
        """The board as `placed` puts its corners; its back is white. Its squares are small, so that a lens bends it."""
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
    """A checkerboard with an edge as wide as a square.

    Args:
        columns: squares along a row; OpenCV's detectors count the corners between them, one less.
        rows: squares along a column.
        square_m: side of a square, metres.

    Raises:
        InputError: too few squares, or squares of no size.
    """
    _check(columns, rows, square_m)
    dark = np.add.outer(np.arange(rows), np.arange(columns)) % 2 == 0
    inner = np.kron(np.where(dark, 0, 255).astype(np.uint8), np.ones((_SQUARE_PX, _SQUARE_PX), np.uint8))
    return _board(inner, columns, rows, square_m)


def charuco_board(
    columns: int, rows: int, square_m: float, marker_m: float, dictionary: int = cv2.aruco.DICT_5X5_100
) -> RenderedBoard:
    """A checkerboard with a marker in each white square: a part of it is enough to identify its corners.

    Args:
        columns: squares along a row.
        rows: squares along a column.
        square_m: side of a square, metres.
        marker_m: side of a marker, metres.
        dictionary: of the markers, one of `cv2.aruco`.

    Raises:
        InputError: too few squares, squares of no size, markers that do not fit them, or too few markers.
    """
    _check(columns, rows, square_m)
    if not 0 < marker_m < square_m:
        raise InputError(f"markers of {marker_m} m do not fit squares of {square_m} m; make them smaller")
    markers = cv2.aruco.getPredefinedDictionary(dictionary)
    if columns * rows // 2 > len(markers.bytesList):
        raise InputError(f"{columns} x {rows} squares want {columns * rows // 2} markers; the dictionary has fewer")
    board = cv2.aruco.CharucoBoard((columns, rows), square_m, marker_m, markers)
    inner = board.generateImage((columns * _SQUARE_PX, rows * _SQUARE_PX))
    return _board(np.asarray(inner, np.uint8), columns, rows, square_m)


def _check(columns: int, rows: int, square_m: float) -> None:
    if columns < 3 or rows < 3 or not square_m > 0:
        raise InputError(f"a board of {columns} x {rows} squares of {square_m} m: take 3 x 3 or more, above 0 m")


def _board(inner: NDArray[np.uint8], columns: int, rows: int, square_m: float) -> RenderedBoard:
    """A print with its edge around it."""
    grey = np.pad(inner, _SQUARE_PX, constant_values=255)
    ink = np.where(grey > 127, _WHITE, _BLACK).astype(np.uint8)
    x, y = np.meshgrid(np.arange(1, columns), np.arange(1, rows))
    corners = np.stack([x + 1, y + 1, np.zeros_like(x)], -1).reshape(-1, 3) * square_m
    size = ((columns + 2) * square_m, (rows + 2) * square_m)
    return RenderedBoard(np.repeat(ink[..., None], 3, axis=-1), size, corners.astype(np.float64))
