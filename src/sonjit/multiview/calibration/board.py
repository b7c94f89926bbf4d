"""Calibration targets: a ChArUco board, a checkerboard, a grid of markers, or any body with ArUco markers.

A target's points have numbers, so that one view may see some of them. A flat target lies in z = 0: x right and y down
as it is printed, z away from its reader.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sonjit.arrays import BoolArray, FloatArray, Image, IndexArray
from sonjit.datasets.reading import field as field_of
from sonjit.datasets.reading import load_json, numbers
from sonjit.errors import InputError
from sonjit.multiview.cameras.rig import METRES, metres_of

Found = tuple["IndexArray", "FloatArray"]

"""(n,) numbers of points, (n, 2) pixels."""

_CELLS = 120

"""Steps across a square of a drawing: markers of usual sizes fall near to them."""

_HALF_PX = 0.5

"""OpenCV counts from the middle of the first pixel, Sonjit from its corner."""

_FORM = (
    "charuco:8x6:30mm:22mm:4x4_50 (squares, square, marker, dictionary), checkerboard:8x5:25mm (inner corners), "
    "aruco:5x7:30mm:6mm:4x4_50 (markers, marker, gap, dictionary), aprilgrid:6x6:88mm:26.4mm (tags, tag, gap) "
    "or a .json of markers; with :inverted where white and black are exchanged"
)

_TAGS = "APRILTAG_36H11"

_REACH = 0.1
"""How far around a marker's corner its edges are looked at, in sides."""

_TAG_BORDER = 2
"""Black modules around a tag of an AprilGrid as Kalibr prints it; markers have one."""


@dataclass(frozen=True)
class CalibrationBoard:
    """A flat board of squares or markers.

    Attributes:
        kind: squares with markers in the white ones; squares; markers; the tags of Kalibr's AprilGrid, whose numbers
            rise from the lower left.
        columns: squares or markers across; a checkerboard has inner corners fewer by one.
        rows: likewise down.
        square_m: side of a square, measured on the print; of a grid, from one marker to the next.
        marker_m: side of a marker.
        dictionary: of its markers, as OpenCV names it without DICT_.
        inverted: black and white are exchanged.
        legacy: a ChArUco board of an even number of rows that begins with a white square, as OpenCV before 4.6 drew it.
    """

    kind: Literal["charuco", "checkerboard", "aruco", "aprilgrid"]
    columns: int
    rows: int
    square_m: float
    marker_m: float = 0.0
    dictionary: str = ""
    inverted: bool = False
    legacy: bool = False

    def __post_init__(self) -> None:
        if not self.is_grid and min(self.columns, self.rows) < 3:
            raise InputError(f"a board of {self.columns} x {self.rows} squares: at least 3 x 3 are needed")
        if self.is_grid and min(self.columns, self.rows) < 1:
            raise InputError(f"a grid of {self.columns} x {self.rows} markers: give at least 1 x 1")
        if not 0 < self.square_m < 10:
            raise InputError(f"a board with squares of {self.square_m:g} m: measure a square, such as 30mm")
        if self.kind == "charuco" and not 0 < self.marker_m < self.square_m:
            raise InputError(f"markers of {self.marker_m:g} m do not fit into squares of {self.square_m:g} m")
        if self.is_grid and (self.columns * self.rows > 1) == (self.marker_m == self.square_m):
            raise InputError("a grid of markers has a gap between them, and one marker alone has a gap of 0mm")
        if self.kind == "checkerboard" and (self.inverted or self.legacy):
            raise InputError("a checkerboard is found inverted or not: leave out what follows the size of a square")
        if self.legacy and (self.kind != "charuco" or self.rows % 2):
            raise InputError("only a ChArUco board of an even number of rows has a legacy pattern: leave out :legacy")
        if self.kind == "checkerboard" and (self.columns + self.rows) % 2 == 0:
            raise InputError(
                f"a checkerboard of {self.columns - 1} x {self.rows - 1} inner corners looks the same upside down: "
                "take an odd by an even number, or a ChArUco board"
            )

    is_flat = True

    @property
    def is_grid(self) -> bool:
        """It has markers without squares."""
        return self.kind in ("aruco", "aprilgrid")

    @property
    def text(self) -> str:
        """As the command line names it.

        >>> target_from_text("charuco:4x5:54mm:40.5mm:4x4_50:inverted").text
        'charuco:4x5:54mm:40.5mm:4x4_50:inverted'
        """
        square, marker, gap = (
            f"{1000 * length:.6g}mm" for length in (self.square_m, self.marker_m, self.square_m - self.marker_m)
        )
        match self.kind:
            case "checkerboard":
                parts = [f"{self.columns - 1}x{self.rows - 1}", square]
            case "charuco":
                parts = [f"{self.columns}x{self.rows}", square, marker, self.dictionary.lower()]
            case "aruco":
                parts = [f"{self.columns}x{self.rows}", marker, gap, self.dictionary.lower()]
            case "aprilgrid":
                parts = [f"{self.columns}x{self.rows}", marker, gap]
        return ":".join([self.kind, *parts, *["inverted"] * self.inverted, *["legacy"] * self.legacy])

    @cached_property
    def markers(self) -> MarkerBody:
        """The markers of a grid where they are printed."""
        corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]) * self.marker_m
        if self.kind == "aprilgrid":  # OpenCV's tags are Kalibr's upside down
            corners = corners[[2, 3, 0, 1]] + np.array([1, 1, 0]) * (self.square_m - self.marker_m)
        places = {
            (self.rows - 1 - row if self.kind == "aprilgrid" else row) * self.columns + column: (column, row, 0)
            for row in range(self.rows)
            for column in range(self.columns)
        }
        return MarkerBody(
            self.dictionary,
            {number: corners + np.array(places[number]) * self.square_m for number in sorted(places)},
            _TAG_BORDER if self.kind == "aprilgrid" else 1,
        )

    @cached_property
    def points_m(self) -> FloatArray:
        """(N, 3) its inner corners, row by row; of a grid, four corners of each marker, by its number."""
        if self.is_grid:
            return self.markers.points_m
        y, x = np.mgrid[1 : self.rows, 1 : self.columns]
        return np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], 1) * self.square_m

    def find(self, gray: Image) -> Found:
        """The corners that a grey image (H, W) shows; empty without."""
        gray = 255 - gray if self.inverted else gray
        if self.is_grid:
            return self.markers.find(gray)
        return _charuco_corners(self, gray) if self.kind == "charuco" else _checkerboard_corners(self, gray)

    def draw(self, square_px: int, margin_px: int = 0) -> Image:
        """(H, W) grey, to print: squares, or markers with their gap, of so many pixels; a white margin around.

        An inverted board's margin is black.
        """
        if self.is_grid:
            squares = self._drawn_grid(square_px)
        elif self.kind == "charuco":
            size = self.columns * square_px, self.rows * square_px
            squares = np.asarray(_charuco(self).generateImage(size, marginSize=0), np.uint8)
        else:
            odd = np.indices((self.rows, self.columns)).sum(0) % 2
            squares = np.kron(odd, np.full((square_px, square_px), 255)).astype(np.uint8)
        drawn = np.pad(squares, margin_px, constant_values=255)
        return 255 - drawn if self.inverted else drawn

    def _drawn_grid(self, square_px: int) -> Image:
        import cv2

        side = round(square_px * self.marker_m / self.square_m)
        gap = square_px - side
        edge = gap if self.kind == "aprilgrid" else 0
        drawn = np.full((self.rows * square_px + edge, self.columns * square_px + edge), 255, np.uint8)
        for number, corners in self.markers.corners_m.items():
            x, y = (round(square_px * value / self.square_m) for value in corners[:, :2].min(0))
            marker = np.asarray(
                cv2.aruco.generateImageMarker(
                    _dictionary(self.dictionary), number, side, borderBits=self.markers.border_modules
                )
            )
            drawn[y : y + side, x : x + side] = marker[::-1, ::-1] if self.kind == "aprilgrid" else marker
        if self.kind == "aprilgrid":  # black squares between the corners of four tags
            for row, column in np.ndindex(self.rows + 1, self.columns + 1):
                y, x = row * square_px, column * square_px
                drawn[y : y + gap, x : x + gap] = 0
        return drawn

    def svg(self) -> str:
        """A drawing in true size, a margin of one square around."""
        steps = _CELLS
        if self.is_grid:  # so many that a marker has nearly a whole number
            share = self.marker_m / self.square_m
            steps = min(range(_CELLS, 2 * _CELLS), key=lambda count: abs(count * share - round(count * share)))
        cells = self.draw(steps)
        scale = self.square_m * 1000 / steps
        edge = self.square_m * 1000
        wide, high = (scale * count + 2 * edge for count in cells.shape[::-1])
        dark = "".join(
            f"M{first} {row}h{end - first}v1h{first - end}z"
            for row, line in enumerate((cells < 128) != self.inverted)
            for first, end in _runs(line)
        )
        ground = "#000" if self.inverted else "#fff"
        dots = "#fff" if self.inverted else "#000"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:g}mm" height="{high:g}mm" '
            f'viewBox="0 0 {wide:g} {high:g}"><rect width="100%" height="100%" fill="{ground}"/>'
            f'<path transform="translate({edge:g} {edge:g}) scale({scale:g})" fill="{dots}" d="{dark}"/></svg>\n'
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
        border_modules: width of a marker's black border in its modules.
    """

    dictionary: str
    corners_m: dict[int, FloatArray]
    border_modules: int = 1
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
        corners, numbers_seen = found_markers(gray, self.dictionary, self.border_modules)
        ids: list[int] = []
        pixels: list[FloatArray] = []
        for four, number in zip(corners, numbers_seen, strict=True):
            if int(number) in self._places:
                ids += range(self._places[int(number)], self._places[int(number)] + 4)
                pixels.append(four)
        if not ids:
            return _NOTHING
        return np.array(ids), np.concatenate(pixels)


def found_markers(gray: Image, dictionary: str, border_modules: int = 1) -> tuple[list[FloatArray], list[int]]:
    """The markers of a grey image (H, W): of each its corners (4, 2) in pixels, and its number."""
    import cv2

    options = cv2.aruco.DetectorParameters()
    options.markerBorderBits = border_modules
    corners, ids, _ = cv2.aruco.ArucoDetector(_dictionary(dictionary), options).detectMarkers(gray)
    if not len(corners):
        return [], []
    found: list[FloatArray] = []
    for four in corners:
        start = np.asarray(four, np.float32).reshape(4, 1, 2)
        shortest = float(np.linalg.norm(start - np.roll(start, 1, 0), axis=-1).min())
        reach = max(2, round(shortest * _REACH))  # within the border, and no further than to the next marker
        refined = cv2.cornerSubPix(gray, start, (reach, reach), (-1, -1), (3, 40, 0.005))
        found.append(np.asarray(refined, np.float64).reshape(4, 2) + _HALF_PX)
    return found, [int(number) for number in np.ravel(np.asarray(ids))]


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
    words = {"inverted", "legacy"} & {part.lower() for part in parts}
    parts = [part for part in parts if part.lower() not in words]
    size = re.fullmatch(r"(\d+)x(\d+)", parts[0]) if parts else None
    wanted = {"charuco": 4, "checkerboard": 2, "aruco": 4, "aprilgrid": 3}
    if size is None or wanted.get(kind) != len(parts):
        raise InputError(f"board {text!r}: write {_FORM}")
    columns, rows = int(size[1]), int(size[2])
    one, *rest = (length_from_text(part, text) for part in parts[1:3])
    dictionary = parts[3] if len(parts) == 4 else _TAGS if kind == "aprilgrid" else ""
    if dictionary:
        _dictionary(dictionary)
    dictionary = dictionary.upper()
    inverted, legacy = "inverted" in words, "legacy" in words
    match kind:
        case "charuco":
            return CalibrationBoard("charuco", columns, rows, one, rest[0], dictionary, inverted, legacy)
        case "checkerboard":
            return CalibrationBoard("checkerboard", columns + 1, rows + 1, one, 0, "", inverted, legacy)
        case _:
            grid: Literal["aruco", "aprilgrid"] = "aruco" if kind == "aruco" else "aprilgrid"
            return CalibrationBoard(grid, columns, rows, one + rest[0], one, dictionary, inverted, legacy)


def length_from_text(text: str, whole: str) -> float:
    """Metres of a length such as 30mm; NaN for a text of another form.

    Raises:
        InputError: its digits are no number; names the whole that it is part of.
    """
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
    made = cv2.aruco.CharucoBoard(size, board.square_m, board.marker_m, _dictionary(board.dictionary))
    made.setLegacyPattern(board.legacy)
    return made


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
