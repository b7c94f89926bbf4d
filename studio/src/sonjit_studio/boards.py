"""Define calibration targets, detect them in images and videos, and recognise the board that images show.

Points have indices, so that a view may show only some of them. A flat target lies in z = 0: x right and y down as it is
printed, z away from its reader. For recognition, markers of every dictionary are searched in the images and their
inverses. A homography maps their centres and corners to the layout.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from sonjit._util import FloatArray, Image, IndexArray, InputError, data_files
from sonjit._util.lazy_names import LazyModule
from sonjit._util.records import field, numbers
from sonjit.media import open_source
from sonjit_studio.camera_numbers import METRES, metres_per_unit

if TYPE_CHECKING:
    import cv2
else:
    cv2 = LazyModule("cv2")

PoseKey: TypeAlias = "tuple[int, CalibrationTarget]"  # frame set, and a target in it
BoardKind: TypeAlias = Literal["charuco", "checkerboard", "aruco", "aprilgrid"]
Found = tuple["IndexArray", "FloatArray"]  # (n,) indices of points and (n, 2) pixels
_DRAWING_STEPS = 120  # steps across a square of a drawing, fine enough for markers of usual sizes
_HALF_PIXEL = 0.5  # shift from OpenCV's pixel coordinates, which start at the first pixel's centre, to Sonjit's
_BOARD_SYNTAX = (
    "charuco:8x6:30mm:22mm:4x4_50 (squares, square, marker, dictionary), checkerboard:8x5:25mm (inner corners), "
    "aruco:5x7:30mm:6mm:4x4_50 (markers, marker, gap, dictionary), aprilgrid:6x6:88mm:26.4mm (tags, tag, gap) "
    "or a .json of markers; with :inverted where white and black are exchanged"
)
_APRILGRID_DICTIONARY = "APRILTAG_36H11"
_REFINEMENT_RADIUS = 0.1  # radius of the corner refinement in sides of a marker
_APRILGRID_BORDER = 2  # modules of an AprilGrid tag's black border, as Kalibr prints it; other markers have one
_NO_POINTS: Found = np.zeros(0, np.intp), np.zeros((0, 2))


CalibrationTarget: TypeAlias = "CalibrationBoard | MarkerBody"


@dataclass(frozen=True, eq=False)
class BoardObservation:
    """A target detected in one image."""

    target: CalibrationTarget
    view: str
    frame: int
    points: IndexArray  # (n,) indices of the target's points
    pixels: FloatArray  # (n, 2) positions in the image

    @property
    def points_m(self) -> FloatArray:
        """Positions (n, 3) of the points in the target's frame, metres."""
        return self.target.points_m[self.points]

    @property
    def pose_key(self) -> PoseKey:
        """Frame set and target, which share one pose."""
        return self.frame, self.target


@dataclass(frozen=True, eq=False)
class BoardObservations:
    """All observations of one or more targets."""

    found: tuple[BoardObservation, ...]
    sizes: Mapping[str, tuple[int, int]]
    problems: tuple[str, ...] = ()

    def of(self, view: str) -> list[BoardObservation]:
        """Return the observations of one camera."""
        return [observation for observation in self.found if observation.view == view]


def gray_image(rgb: Image) -> Image:
    """Convert an RGB image (H, W, 3) to grey (H, W)."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def sampled_images(views: Mapping[str, Path], *, count: int = 16) -> list[Image]:
    """Return about `count` grey images (H, W), evenly sampled from each view."""
    images: list[Image] = []
    for path in views.values():
        with open_source(path) as source:
            step = max(1, (source.count or 0) // -(-count // len(views)))
            images += [gray_image(image.rgb) for image in source if image.index % step == step // 2]
    return images


@dataclass(frozen=True)
class CalibrationBoard:
    """A flat board of squares or markers."""

    # charuco (squares with markers in the white ones), checkerboard, aruco (markers) or aprilgrid (Kalibr's tags,
    # numbered from the lower left)
    kind: BoardKind
    columns: int  # squares or markers across. A checkerboard has one inner corner fewer.
    rows: int
    square_m: float  # side of a square, measured on the print. For a grid, distance from one marker to the next.
    marker_m: float = 0.0
    dictionary: str = ""
    inverted: bool = False  # True if black and white are exchanged
    # True if a ChArUco board of an even number of rows begins with a white square, as before OpenCV 4.6
    legacy: bool = False

    is_flat = True

    @property
    def is_grid(self) -> bool:
        """Whether the board has markers without squares."""
        return self.kind in ("aruco", "aprilgrid")

    @property
    def text(self) -> str:
        """Description in the command line's syntax.

        >>> target_from_text("charuco:4x5:54mm:40.5mm:4x4_50:inverted").text
        'charuco:4x5:54mm:40.5mm:4x4_50:inverted'
        """
        lengths = self.square_m, self.marker_m, self.square_m - self.marker_m
        square, marker, gap = (f"{1000 * length:.6g}mm" for length in lengths)
        match self.kind:
            case "checkerboard":
                fields = [f"{self.columns - 1}x{self.rows - 1}", square]
            case "charuco":
                fields = [f"{self.columns}x{self.rows}", square, marker, self.dictionary.lower()]
            case "aruco":
                fields = [f"{self.columns}x{self.rows}", marker, gap, self.dictionary.lower()]
            case "aprilgrid":
                fields = [f"{self.columns}x{self.rows}", marker, gap]
        return ":".join([self.kind, *fields, *["inverted"] * self.inverted, *["legacy"] * self.legacy])

    @cached_property
    def markers(self) -> MarkerBody:
        """The markers of a grid at their printed positions."""
        corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]) * self.marker_m
        if self.kind == "aprilgrid":  # OpenCV's tags are turned by 180 degrees relative to Kalibr's
            corners = corners[[2, 3, 0, 1]] + np.array([1, 1, 0]) * (self.square_m - self.marker_m)
        rows = range(self.rows)[:: -1 if self.kind == "aprilgrid" else 1]
        places = [np.array([column, row, 0]) * self.square_m for row in rows for column in range(self.columns)]
        border = _APRILGRID_BORDER if self.kind == "aprilgrid" else 1
        return MarkerBody(self.dictionary, {number: corners + place for number, place in enumerate(places)}, border)

    @cached_property
    def points_m(self) -> FloatArray:
        """Inner corners (N, 3) row by row; for a grid, four corners of each marker by number."""
        if self.is_grid:
            return self.markers.points_m
        y, x = np.mgrid[1 : self.rows, 1 : self.columns]
        return np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], 1) * self.square_m

    def find(self, gray: Image) -> Found:
        """Detect the corners in a grey image (H, W). Return empty arrays if there are none."""
        gray = 255 - gray if self.inverted else gray
        if self.is_grid:
            return self.markers.find(gray)
        return _charuco_corners(self, gray) if self.kind == "charuco" else _checkerboard_corners(self, gray)

    def draw(self, square_px: int, margin_px: int = 0) -> Image:
        """Draw the board in grey (H, W), with squares, or markers and their gaps, and a margin of these pixels."""
        if self.is_grid:
            squares = self._draw_grid(square_px)
        elif self.kind == "charuco":
            size = self.columns * square_px, self.rows * square_px
            squares = np.asarray(_charuco(self).generateImage(size, marginSize=0), np.uint8)
        else:
            odd = np.indices((self.rows, self.columns)).sum(0) % 2
            squares = np.kron(odd, np.full((square_px, square_px), 255)).astype(np.uint8)
        drawn = np.pad(squares, margin_px, constant_values=255)
        return 255 - drawn if self.inverted else drawn

    def _draw_grid(self, square_px: int) -> Image:
        is_april = self.kind == "aprilgrid"
        side = round(square_px * self.marker_m / self.square_m)
        gap = square_px - side
        edge = gap if is_april else 0
        drawn = np.full((self.rows * square_px + edge, self.columns * square_px + edge), 255, np.uint8)
        borders = self.markers.border_modules
        for number, corners in self.markers.corners_m.items():
            x, y = (round(square_px * value / self.square_m) for value in corners[:, :2].min(0))
            marker = cv2.aruco.generateImageMarker(_aruco_dictionary(self.dictionary), number, side, borderBits=borders)
            drawn[y : y + side, x : x + side] = np.asarray(marker)[::-1, ::-1] if is_april else np.asarray(marker)
        if is_april:  # black squares between the corners of four tags
            for row, column in np.ndindex(self.rows + 1, self.columns + 1):
                y, x = row * square_px, column * square_px
                drawn[y : y + gap, x : x + gap] = 0
        return drawn

    def svg(self) -> str:
        """Draw the board in true size as SVG, with a margin of one square."""
        share = self.marker_m / self.square_m if self.is_grid else 0.0
        counts = range(_DRAWING_STEPS, 2 * _DRAWING_STEPS)
        steps = min(counts, key=lambda count: abs(count * share - round(count * share)))  # for whole steps of a marker
        cells = self.draw(steps)
        edge = self.square_m * 1000
        scale = edge / steps
        wide, high = (scale * count + 2 * edge for count in cells.shape[::-1])
        edges = (
            (row, np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]))).reshape(-1, 2).tolist())
            for row, line in enumerate((cells < 128) != self.inverted)
        )
        path = "".join(f"M{first} {row}h{end - first}v1h{first - end}z" for row, runs in edges for first, end in runs)
        background, foreground = ("#000", "#fff") if self.inverted else ("#fff", "#000")
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:g}mm" height="{high:g}mm" '
            f'viewBox="0 0 {wide:g} {high:g}"><rect width="100%" height="100%" fill="{background}"/>'
            f'<path transform="translate({edge:g} {edge:g}) scale({scale:g})" fill="{foreground}" d="{path}"/></svg>\n'
        )


@dataclass(frozen=True, eq=False)
class MarkerBody:
    """ArUco markers on a body of known shape."""

    dictionary: str
    corners_m: dict[int, FloatArray]  # (4, 3) by number: upper left, upper right, lower right, lower left
    border_modules: int = 1

    @cached_property
    def _first_points(self) -> dict[int, int]:
        return {number: 4 * index for index, number in enumerate(self.corners_m)}

    @cached_property
    def points_m(self) -> FloatArray:
        """Four corners of each marker (N, 3), in order."""
        return np.concatenate(list(self.corners_m.values()))

    @cached_property
    def is_flat(self) -> bool:
        """Whether all corners lie in z = 0."""
        return not self.points_m[:, 2].any()

    def find(self, gray: Image) -> Found:
        """Detect the corners in a grey image (H, W). Return empty arrays if there are none."""
        seen = zip(*detect_markers(gray, self.dictionary, self.border_modules), strict=True)
        markers = [(four, self._first_points[number]) for four, number in seen if number in self._first_points]
        if not markers:
            return _NO_POINTS
        ids = np.concatenate([np.arange(first, first + 4) for _, first in markers])
        return ids, np.concatenate([four for four, _ in markers])


def detect_markers(gray: Image, dictionary: str, border_modules: int) -> tuple[list[FloatArray], list[int]]:
    """Detect the markers of a grey image (H, W): their corners (4, 2) in pixels, and their numbers."""
    options = cv2.aruco.DetectorParameters()
    options.markerBorderBits = border_modules
    corners, ids, _ = cv2.aruco.ArucoDetector(_aruco_dictionary(dictionary), options).detectMarkers(gray)
    if not len(corners):
        return [], []
    markers: list[FloatArray] = []
    for quad in corners:
        start = np.asarray(quad, np.float32).reshape(4, 1, 2)
        shortest = float(np.linalg.norm(start - np.roll(start, 1, 0), axis=-1).min())
        reach = max(2, round(shortest * _REFINEMENT_RADIUS))  # stay within the border and away from the next marker
        refined = cv2.cornerSubPix(gray, start, (reach, reach), (-1, -1), (3, 40, 0.005))
        markers.append(np.asarray(refined, np.float64).reshape(4, 2) + _HALF_PIXEL)
    return markers, [int(number) for number in np.ravel(np.asarray(ids))]


def target_from_text(text: str) -> CalibrationTarget:
    """Parse a target in the command line's syntax, `_BOARD_SYNTAX`.

    >>> target_from_text("charuco:8x6:30mm:22mm:4x4_50").points_m.shape
    (35, 3)
    """
    if text.lower().endswith(".json"):
        return _marker_body_from_json(Path(text))
    kind, *fields = text.split(":")
    flags = {"inverted", "legacy"} & {part.lower() for part in fields}
    fields = [part for part in fields if part.lower() not in flags]
    size = re.fullmatch(r"(\d+)x(\d+)", fields[0]) if fields else None
    part_counts = {"charuco": 4, "checkerboard": 2, "aruco": 4, "aprilgrid": 3}
    if size is None or part_counts.get(kind) != len(fields):
        raise InputError(f"board {text!r}: write {_BOARD_SYNTAX}")
    side, other = (*(length_from_text(part, text) for part in fields[1:3]), 0.0)[:2]
    corners = int(kind == "checkerboard")  # one inner corner fewer than squares
    is_grid = kind in ("aruco", "aprilgrid")
    dictionary = fields[3] if len(fields) == 4 else _APRILGRID_DICTIONARY if kind == "aprilgrid" else ""
    if dictionary:
        _aruco_dictionary(dictionary)
    columns, rows = int(size[1]) + corners, int(size[2]) + corners
    square_m, marker_m = (side + other, side) if is_grid else (side, other)
    kind = cast("BoardKind", kind)
    dictionary = dictionary.upper()
    turned = ("inverted" in flags, "legacy" in flags)
    board = CalibrationBoard(kind, columns, rows, square_m, marker_m, dictionary, *turned)
    check_board(board)
    return board


def check_board(board: CalibrationBoard) -> None:
    """Raise an InputError if a board is impossible, or looks the same upside down."""
    is_checkerboard, least = board.kind == "checkerboard", 1 if board.is_grid else 3
    if min(board.columns, board.rows) < least:
        what = "grid requires at least 1 x 1 markers" if board.is_grid else "board requires at least 3 x 3 squares"
        raise InputError(f"a {what}, not {board.columns} x {board.rows}")
    if not 0 < board.square_m < 10:
        raise InputError(f"a board with squares of {board.square_m:g} m: measure a square, such as 30mm")
    if board.kind == "charuco" and not 0 < board.marker_m < board.square_m:
        raise InputError(f"markers of {board.marker_m:g} m do not fit into squares of {board.square_m:g} m")
    if board.is_grid and (board.columns * board.rows > 1) == (board.marker_m == board.square_m):
        raise InputError("a grid of several markers requires a gap, and a single marker a gap of 0mm")
    if is_checkerboard and (board.inverted or board.legacy):
        raise InputError("inverted and legacy do not apply to a checkerboard, which is found either way")
    if board.legacy and (board.kind != "charuco" or board.rows % 2):
        raise InputError(":legacy applies only to a ChArUco board of an even number of rows")
    if is_checkerboard and (board.columns + board.rows) % 2 == 0:
        raise InputError(
            f"a checkerboard of {board.columns - 1} x {board.rows - 1} inner corners looks the same upside down: "
            "take an odd by an even number, or a ChArUco board"
        )


def length_from_text(text: str, whole: str) -> float:
    """Parse a length such as 30mm into metres. Return NaN for text of another form."""
    match = re.fullmatch(r"([\d.]+)(mm|cm|m)", text)
    try:
        return float(match[1]) * METRES[match[2]] if match else float("nan")
    except ValueError:
        raise InputError(f"board {whole!r}: {text!r} is not a length such as 30mm") from None


def _marker_body_from_json(path: Path) -> MarkerBody:
    """Load `{"unit": "mm", "dictionary": "4x4_50", "markers": {"7": [[x, y, z] x 4], ...}}`."""
    content = data_files.read_json(path)
    metres = metres_per_unit(field(content, "unit", str(path)), str(path))
    dictionary = str(field(content, "dictionary", str(path))).upper()
    _aruco_dictionary(dictionary)
    markers: Any = field(content, "markers", str(path))
    if not isinstance(markers, dict) or not markers or not all(str(key).isdecimal() for key in markers):
        raise InputError(f"{path}: markers must be an object of numbers and their four corners")
    corners = {int(key): numbers(value, (4, 3), f"{path}: marker {key}") * metres for key, value in markers.items()}
    return MarkerBody(dictionary, corners)


def _aruco_dictionary(name: str) -> Any:  # noqa: ANN401  # cv2.aruco.Dictionary
    number = getattr(cv2.aruco, f"DICT_{name.upper().removeprefix('DICT_')}", None)
    if number is None:
        raise InputError(f"unknown marker dictionary {name!r}. Choose one of OpenCV's, such as 4x4_50 or 5x5_100")
    return cv2.aruco.getPredefinedDictionary(number)


def _charuco(board: CalibrationBoard) -> Any:  # noqa: ANN401  # cv2.aruco.CharucoBoard
    size = board.columns, board.rows
    charuco = cv2.aruco.CharucoBoard(size, board.square_m, board.marker_m, _aruco_dictionary(board.dictionary))
    charuco.setLegacyPattern(board.legacy)
    return charuco


def _charuco_corners(board: CalibrationBoard, gray: Image) -> Found:
    corners, ids, _, _ = cast("Any", cv2.aruco.CharucoDetector(_charuco(board))).detectBoard(gray)
    if ids is None or not len(ids):
        return _NO_POINTS
    return np.ravel(ids).astype(np.intp), np.asarray(corners, np.float64).reshape(-1, 2) + _HALF_PIXEL


def _checkerboard_corners(board: CalibrationBoard, gray: Image) -> Found:
    across, down = board.columns - 1, board.rows - 1
    is_found, corners = cv2.findChessboardCornersSB(gray, (across, down), flags=cv2.CALIB_CB_ACCURACY)
    if not is_found:
        return _NO_POINTS
    grid = np.asarray(corners, np.float64).reshape(down, across, 2)
    if np.linalg.det([grid[0, -1] - grid[0, 0], grid[-1, 0] - grid[0, 0]]) < 0:
        grid = grid[::-1]  # a print is never seen from behind
    first, second = (grid[:2, column : column + 2].mean((0, 1)).astype(int) for column in (0, 1))
    if gray[first[1], first[0]] > gray[second[1], second[0]]:
        grid = grid[::-1, ::-1]  # the square between the first four corners is dark, as `draw` prints it
    return np.arange(across * down), grid.reshape(-1, 2) + _HALF_PIXEL
