"""Calibration targets: a ChArUco board, a checkerboard, or any body with ArUco markers.

A target's points have numbers, so that one view may see some of them. A flat target lies in z = 0: x right and y down
as it is printed, z away from its reader.

Sightings of a target in images and videos: by which camera, in which frame set, at which pixels.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sonjit.arrays import BoolArray, FloatArray, Image, IndexArray
from sonjit.datasets.reading import field as field_of
from sonjit.datasets.reading import load_json, numbers
from sonjit.errors import InputError
from sonjit.media import open_source
from sonjit.multiview.cameras.rig import METRES, metres_of
from sonjit.multiview.cameras.views import frame_numbers

Found = tuple["IndexArray", "FloatArray"]

"""(n,) numbers of points, (n, 2) pixels."""

_CELLS = 120

"""Steps across a square of a drawing: markers of usual sizes fall near to them."""

_HALF_PX = 0.5

"""OpenCV counts from the middle of the first pixel, Sonjit from its corner."""

_FORM = (
    "charuco:8x6:30mm:22mm:4x4_50 (squares, square, marker, dictionary), checkerboard:8x5:25mm (inner corners) "
    "or a .json of markers"
)


@dataclass(frozen=True)
class CalibrationBoard:
    """A flat board of squares.

    Attributes:
        kind: with markers in its white squares, or without.
        columns: squares across; a checkerboard has inner corners fewer by one.
        rows: squares down.
        square_m: side of a square, measured on the print.
        marker_m: side of a marker.
        dictionary: of its markers, as OpenCV names it without DICT_.
    """

    kind: Literal["charuco", "checkerboard"]
    columns: int
    rows: int
    square_m: float
    marker_m: float = 0.0
    dictionary: str = ""

    def __post_init__(self) -> None:
        if min(self.columns, self.rows) < 4:
            raise InputError(f"a board of {self.columns} x {self.rows} squares: at least 4 x 4 are needed")
        if not 0 < self.square_m < 10:
            raise InputError(f"a board with squares of {self.square_m:g} m: measure a square, such as 30mm")
        if self.kind == "charuco" and not 0 < self.marker_m < self.square_m:
            raise InputError(f"markers of {self.marker_m:g} m do not fit into squares of {self.square_m:g} m")
        if self.kind == "checkerboard" and (self.columns + self.rows) % 2 == 0:
            raise InputError(
                f"a checkerboard of {self.columns - 1} x {self.rows - 1} inner corners looks the same upside down: "
                "take an odd by an even number, or a ChArUco board"
            )

    is_flat = True

    @cached_property
    def points_m(self) -> FloatArray:
        """(N, 3) its inner corners, row by row."""
        y, x = np.mgrid[1 : self.rows, 1 : self.columns]
        return np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], 1) * self.square_m

    def find(self, gray: Image) -> Found:
        """The corners that a grey image (H, W) shows; empty without."""
        return _charuco_corners(self, gray) if self.kind == "charuco" else _checkerboard_corners(self, gray)

    def draw(self, square_px: int, margin_px: int = 0) -> Image:
        """(H, W) grey, to print: squares of so many pixels, a white margin around."""
        if self.kind == "charuco":
            size = self.columns * square_px, self.rows * square_px
            squares = np.asarray(_charuco(self).generateImage(size, marginSize=0), np.uint8)
        else:
            odd = np.indices((self.rows, self.columns)).sum(0) % 2
            squares = np.kron(odd, np.full((square_px, square_px), 255)).astype(np.uint8)
        return np.pad(squares, margin_px, constant_values=255)

    def svg(self) -> str:
        """A drawing in true size, a margin of one square around."""
        cells = self.draw(_CELLS)
        scale = self.square_m * 1000 / _CELLS
        edge = self.square_m * 1000
        wide, high = (scale * count + 2 * edge for count in cells.shape[::-1])
        dark = "".join(
            f"M{first} {row}h{end - first}v1h{first - end}z"
            for row, line in enumerate(cells < 128)
            for first, end in _runs(line)
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:g}mm" height="{high:g}mm" '
            f'viewBox="0 0 {wide:g} {high:g}"><rect width="100%" height="100%" fill="#fff"/>'
            f'<path transform="translate({edge:g} {edge:g}) scale({scale:g})" d="{dark}"/></svg>\n'
        )


def _runs(line: BoolArray) -> list[tuple[int, int]]:
    """Where the stretches of a line that are True begin and end."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]])))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]


@dataclass(frozen=True, eq=False)
class MarkerBody:
    """ArUco markers on a body of known shape.

    Attributes:
        dictionary: as OpenCV names it without DICT_.
        corners_m: (4, 3) by a marker's number: upper left, upper right, lower right, lower left as it is printed.
    """

    dictionary: str
    corners_m: dict[int, FloatArray]
    _places: dict[int, int] = field(init=False, default_factory=dict[int, int])

    def __post_init__(self) -> None:
        self._places.update({number: 4 * place for place, number in enumerate(self.corners_m)})

    @cached_property
    def points_m(self) -> FloatArray:
        """(N, 3) four corners of each marker, in order."""
        return np.concatenate(list(self.corners_m.values()))

    @cached_property
    def is_flat(self) -> bool:
        """All corners lie in z = 0."""
        return not self.points_m[:, 2].any()

    def find(self, gray: Image) -> Found:
        """The corners that a grey image (H, W) shows; empty without."""
        import cv2

        options = cv2.aruco.DetectorParameters()
        options.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
        corners, numbers_seen, _ = cv2.aruco.ArucoDetector(_dictionary(self.dictionary), options).detectMarkers(gray)
        ids: list[int] = []
        pixels: list[FloatArray] = []
        for four, number in zip(corners, np.ravel(numbers_seen) if len(corners) else [], strict=True):
            if int(number) in self._places:
                ids += range(self._places[int(number)], self._places[int(number)] + 4)
                pixels.append(np.asarray(four, np.float64).reshape(4, 2))
        if not ids:
            return _NOTHING
        return np.array(ids), np.concatenate(pixels) + _HALF_PX


CalibrationTarget = CalibrationBoard | MarkerBody

_NOTHING: Found = np.zeros(0, np.intp), np.zeros((0, 2))


def target_from_text(text: str) -> CalibrationTarget:
    """A target as the command line names it.

    >>> target_from_text("charuco:8x6:30mm:22mm:4x4_50").points_m.shape
    (35, 3)

    Raises:
        InputError: it is not in that form, or not possible; see `_FORM`.
    """
    if text.lower().endswith(".json"):
        return _body_from_json(Path(text))
    kind, *parts = text.split(":")
    size = re.fullmatch(r"(\d+)x(\d+)", parts[0]) if parts else None
    if size is None or (kind, len(parts)) not in (("charuco", 4), ("checkerboard", 2)):
        raise InputError(f"board {text!r}: write {_FORM}")
    columns, rows = int(size[1]), int(size[2])
    if kind == "checkerboard":
        return CalibrationBoard("checkerboard", columns + 1, rows + 1, _length(parts[1], text))
    _dictionary(parts[3])
    return CalibrationBoard(
        "charuco", columns, rows, _length(parts[1], text), _length(parts[2], text), parts[3].upper()
    )


def _length(text: str, whole: str) -> float:
    found = re.fullmatch(r"([\d.]+)(mm|cm|m)", text)
    try:
        return float(found[1]) * METRES[found[2]] if found else float("nan")
    except ValueError:
        raise InputError(f"board {whole!r}: {text!r} is not a length such as 30mm") from None


def _body_from_json(path: Path) -> MarkerBody:
    """`{"unit": "mm", "dictionary": "4x4_50", "markers": {"7": [[x, y, z] x 4], ...}}`."""
    content = load_json(path)
    metres = metres_of(field_of(content, "unit", str(path)), str(path))
    dictionary = str(field_of(content, "dictionary", str(path))).upper()
    _dictionary(dictionary)
    markers: Any = field_of(content, "markers", str(path))
    if not isinstance(markers, dict) or not markers or not all(str(key).isdecimal() for key in markers):
        raise InputError(f"{path}: markers must be an object of numbers and their four corners")
    return MarkerBody(
        dictionary,
        {int(key): numbers(value, (4, 3), f"{path}: marker {key}") * metres for key, value in markers.items()},
    )


def _dictionary(name: str) -> Any:  # noqa: ANN401  # cv2.aruco.Dictionary
    import cv2

    number = getattr(cv2.aruco, f"DICT_{name.upper().removeprefix('DICT_')}", None)
    if number is None:
        raise InputError(f"marker dictionary {name!r} is not known: give one of OpenCV's, such as 4x4_50 or 5x5_100")
    return cv2.aruco.getPredefinedDictionary(number)


def _charuco(board: CalibrationBoard) -> Any:  # noqa: ANN401  # cv2.aruco.CharucoBoard
    import cv2

    size = board.columns, board.rows
    return cv2.aruco.CharucoBoard(size, board.square_m, board.marker_m, _dictionary(board.dictionary))


def _charuco_corners(board: CalibrationBoard, gray: Image) -> Found:
    import cv2

    detector: Any = cv2.aruco.CharucoDetector(_charuco(board))
    corners, ids, _, _ = detector.detectBoard(gray)
    if ids is None or not len(ids):
        return _NOTHING
    return np.ravel(ids).astype(np.intp), np.asarray(corners, np.float64).reshape(-1, 2) + _HALF_PX


def _checkerboard_corners(board: CalibrationBoard, gray: Image) -> Found:
    import cv2

    across, down = board.columns - 1, board.rows - 1
    is_found, corners = cv2.findChessboardCornersSB(gray, (across, down), flags=cv2.CALIB_CB_ACCURACY)
    if not is_found:
        return _NOTHING
    grid = np.asarray(corners, np.float64).reshape(down, across, 2)
    if np.linalg.det([grid[0, -1] - grid[0, 0], grid[-1, 0] - grid[0, 0]]) < 0:
        grid = grid[::-1]  # nobody sees a print from behind
    own, beside = (grid[:2, place : place + 2].mean((0, 1)).astype(int) for place in (0, 1))
    if gray[own[1], own[0]] > gray[beside[1], beside[0]]:
        grid = grid[::-1, ::-1]  # between the first four corners it is dark, as `draw` prints it
    return np.arange(across * down), grid.reshape(-1, 2) + _HALF_PX


_FEWEST = 6


@dataclass(frozen=True, eq=False)
class Sighting:
    """A target in one image.

    Attributes:
        view: name of the camera.
        frame: number of the frame set, the same in all views.
        points: (n,) numbers of the target's points.
        pixels: (n, 2) where they are.
    """

    view: str
    frame: int
    points: IndexArray
    pixels: FloatArray


@dataclass(frozen=True, eq=False)
class Sightings:
    """All sightings of a target.

    Attributes:
        found: in the order in which they were read.
        sizes: width and height of each view's images, by name, in the rig's order.
        problems: what could not be read, one line each.
    """

    found: tuple[Sighting, ...]
    sizes: Mapping[str, tuple[int, int]]
    problems: tuple[str, ...] = ()

    def of(self, view: str) -> list[Sighting]:
        """One camera's."""
        return [one for one in self.found if one.view == view]


def find_target(
    target: CalibrationTarget,
    views: Mapping[str, str | os.PathLike[str]],
    *,
    every: int = 1,
    frame_of: Callable[[str, int], int | None] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Sightings:
    """Detect a target in every camera's images.

    Args:
        target: the board or body.
        views: an image, folder, glob or video by each camera's name; images of one number are of one frame set.
        every: use every Nth frame set.
        frame_of: the frame set of a view's image, as `Sync.frame_of`; None leaves it out. By default its number.
        advance: called after each image.

    Raises:
        InputError: a source cannot be read, its images change their size, or it shows no target.
    """
    found: list[Sighting] = []
    sizes: dict[str, tuple[int, int]] = {}
    problems: list[str] = []
    for name, named in views.items():
        seen = 0
        with open_source(Path(named)) as source:
            numbers = frame_numbers(source.files) if source.kind == "folder" else None
            for image in source:
                number = numbers[image.index] if numbers else image.index
                frame = frame_of(name, number) if frame_of else number
                if frame is None or frame % every:
                    continue
                height, width = image.rgb.shape[:2]
                if sizes.setdefault(name, (width, height)) != (width, height):
                    raise InputError(
                        f"{named}: image {image.index} has {width} x {height} pixels and those before had "
                        f"{sizes[name][0]} x {sizes[name][1]}: one camera has one size"
                    )
                points, pixels = target.find(_gray(image.rgb))
                if len(points) >= _FEWEST:
                    found.append(Sighting(name, frame, points, pixels))
                    seen += 1
                advance()
            problems += [f"{name}: {problem}" for problem in source.problems]
        if not seen:
            raise InputError(f"camera {name!r}: none of the images of {named} shows the board; is --board right?")
    return Sightings(tuple(found), sizes, tuple(problems))


def _gray(rgb: Image) -> Image:
    import cv2

    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
