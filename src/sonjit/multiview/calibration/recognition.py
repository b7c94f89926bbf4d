"""Which board images show: its kind, squares and dictionary. Its size cannot be seen.

Markers of every dictionary are looked for, in the images and in their inverses; the layout is the one under which the
markers' middles are seen through a homography with their corners where they belong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sonjit.arrays import FloatArray, Image
from sonjit.errors import InputError
from sonjit.media import open_source
from sonjit.multiview.calibration.board import CalibrationBoard, found_markers
from sonjit.multiview.calibration.sightings import gray_image

_FAMILIES: dict[str, tuple[int, ...]] = {
    **{f"{side}X{side}": (50, 100, 250, 1000) for side in (4, 5, 6, 7)},
    "ARUCO_ORIGINAL": (),
    "APRILTAG_16H5": (),
    "APRILTAG_25H9": (),
    "APRILTAG_36H11": (),
}
"""Dictionaries, and of those that are the beginning of the next one, their sizes."""

_KINDS = [
    (family, border, is_inverted)
    for family in _FAMILIES
    for border in ((1, 2) if family == "APRILTAG_36H11" else (1,))
    for is_inverted in (False, True)
]
"""Dictionary, width of the border, and whether black and white are exchanged."""

_PROBED = 4
"""One of so many images is looked through for every dictionary."""

_FEWEST_MARKERS = 5
"""Of an image whose layout is asked for: four middles fit any."""
_MOST_IMAGES = 12
_MOST_COLUMNS = 30
_MOST_SQUARES, _SQUARES_PX = 6, 640
"""Images that are looked through for a checkerboard, which is slow, and their longer side."""
_FIT = 0.08
"""Root mean square distance of corners from where a layout has them, in squares, up to which it is believed."""
_NEAR, _AGREE = 0.25, 0.6
"""How near a marker's middle must be to its place, in squares, and for what share of an image's markers: the others are
false ones of the background, which may be the same in every image."""

_Markers = tuple[list[FloatArray], list[int]]


def sampled_images(views: Mapping[str, Path], *, count: int = 16) -> list[Image]:
    """About so many grey images (H, W), spread over each view's.

    Raises:
        InputError: a view cannot be read.
    """
    found: list[Image] = []
    for path in views.values():
        with open_source(path) as source:
            step = max(1, (source.count or 0) // -(-count // len(views)))
            found += [gray_image(image.rgb) for image in source if image.index % step == step // 2]
    return found


def recognise_board(images: Iterable[Image], *, square_m: float = 1.0) -> CalibrationBoard | None:
    """The board that grey images (H, W) show; None where they show none, or too little of it to tell.

    Args:
        images: several, so that every marker is seen in some.
        square_m: side of a square; of a grid of markers, of a marker.

    Raises:
        InputError: they show a checkerboard that looks the same upside down.
    """
    asked = list(images)
    inverted = [255 - image for image in asked]
    counts: Counter[tuple[str, int, bool]] = Counter()
    for probed in (slice(0, None, _PROBED), slice(None)):
        for family, border, is_inverted in _KINDS:
            for image in (inverted if is_inverted else asked)[probed]:
                counts[family, border, is_inverted] += len(found_markers(image, _largest(family), border)[1])
        if counts.total() > 1:
            break
    (family, border, is_inverted), _ = counts.most_common(1)[0]
    seen = [found_markers(image, _largest(family), border) for image in (inverted if is_inverted else asked)]
    times = Counter(number for _, ids in seen for number in ids)
    usual = [number for number, count in times.items() if count > 1 and count > 0.1 * max(times.values())]
    if not usual:
        return _checkerboard(asked, square_m)
    seen = [_only(markers, usual) for markers in seen]
    if usual == [0]:
        return CalibrationBoard("aruco", 1, 1, square_m, square_m, _smallest(family, 1), is_inverted)
    layout, count = _layout(seen, max(usual) + 1, border)
    if layout is None:  # what looked like markers may be squares
        return _checkerboard(asked, square_m)
    made = replace(layout, dictionary=_smallest(family, count), inverted=is_inverted)
    scale = square_m / (made.marker_m if made.is_grid else made.square_m)
    return replace(made, square_m=made.square_m * scale, marker_m=made.marker_m * scale)


def _largest(family: str) -> str:
    """The dictionary that holds all of a family's."""
    sizes = _FAMILIES[family]
    return f"{family}_{sizes[-1]}" if sizes else family


def _smallest(family: str, count: int) -> str:
    """The smallest dictionary of a family that has so many markers."""
    return next((f"{family}_{size}" for size in _FAMILIES[family] if size >= count), family)


def _only(markers: _Markers, usual: Sequence[int]) -> _Markers:
    kept = [(four, number) for four, number in zip(*markers, strict=True) if number in usual]
    return [four for four, _ in kept], [number for _, number in kept]


def _layout(seen: list[_Markers], count: int, border: int) -> tuple[CalibrationBoard | None, int]:
    """The layout of squares of 1 that the markers fit best, without its dictionary, and how many markers it has.

    Its rows hold those markers that are where they belong in some image. None where no layout fits.
    """
    seen = sorted((one for one in seen if len(one[1]) >= _FEWEST_MARKERS), key=lambda markers: -len(markers[1]))
    clear = seen[:_MOST_IMAGES]
    best, least = None, np.inf
    for columns in range(1, min(count, _MOST_COLUMNS) + 1):
        for board in _candidates(columns, count, border):
            fits = [fit for corners, ids in clear if (fit := _fit(board, corners, ids)) is not None]
            if len(fits) < max(1, len(clear) // 2):
                continue
            misfit, share, lost = np.median([fit[:3] for fit in fits], axis=0)
            cost = float(misfit**2 + lost * _NEAR**2)  # squares, capped at those of markers that are elsewhere
            if misfit < _FIT and cost < least and 0.1 < share < 0.99:
                digits = 3 if board.is_grid else 2
                best, least = replace(board, marker_m=round(float(share), digits)), cost
    if best is None:
        return None, count
    known = max(number for markers in seen if (fit := _fit(best, *markers)) is not None for number in fit[3]) + 1
    rows = {(one.kind, one.legacy): one.rows for one in _candidates(best.columns, known, border)}
    return replace(best, rows=rows[best.kind, best.legacy]), known


def _candidates(columns: int, count: int, border: int) -> list[CalibrationBoard]:
    """Boards of so many columns, and as few rows as have so many markers."""
    if border > 1:
        return [CalibrationBoard("aprilgrid", columns, -(-count // columns), 1.0, 0.75)] if count > 1 else []
    made = [CalibrationBoard("aruco", columns, -(-count // columns), 1.0, 0.75)]
    if columns >= 3:
        rows = 3
        while columns * rows // 2 < count:
            rows += 1
        made.append(CalibrationBoard("charuco", columns, rows, 1.0, 0.75))
        made.append(CalibrationBoard("charuco", columns, rows + rows % 2, 1.0, 0.75, legacy=True))
    return made


def _fit(
    board: CalibrationBoard, corners: list[FloatArray], ids: list[int]
) -> tuple[float, float, float, list[int]] | None:
    """How far corners are from where they should be and a marker's side, in squares, of the markers that are there.

    Also the share of markers that are elsewhere, and which are there; None where few are, or all on a line.
    """
    import cv2

    middles = _middles(board)
    if max(ids) >= len(middles):
        return None
    where = middles[ids]
    if _are_on_a_line(where):
        return None
    places = np.stack([_crossing(four) for four in corners])
    to_board, agree = cv2.findHomography(places, where, cv2.RANSAC, _NEAR)
    if np.shape(to_board) != (3, 3):
        return None
    there = np.ravel(np.asarray(agree)) > 0
    where = where[there]
    if there.sum() < max(_FEWEST_MARKERS, _AGREE * len(ids)) or _are_on_a_line(where):
        return None
    seen = np.stack(corners)[there].reshape(1, -1, 2)
    flat = cv2.perspectiveTransform(seen, np.asarray(to_board, np.float64))[0].reshape(-1, 4, 2) - where[:, None]
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (-1 if board.kind == "aprilgrid" else 1)
    half = float((flat * signs).mean())
    misfit = float(np.sqrt(((flat - half * signs) ** 2).sum(-1).mean()))
    return misfit, 2 * half, float(1 - there.mean()), [number for number, kept in zip(ids, there, strict=True) if kept]


def _are_on_a_line(places: FloatArray) -> bool:
    return bool(np.linalg.matrix_rank(places - places.mean(0), tol=0.1) < 2)


def _middles(board: CalibrationBoard) -> FloatArray:
    """(N, 2) the markers' middles in squares, by number."""
    places = np.array([(column, row) for row in range(board.rows) for column in range(board.columns)])
    match board.kind:
        case "charuco":
            return places[places.sum(1) % 2 == (0 if board.legacy else 1)] + 0.5
        case "aprilgrid":
            return places * np.array([1, -1]) + 0.5
        case _:
            return places + 0.5


def _crossing(four: FloatArray) -> FloatArray:
    """(2,) where the diagonals of four corners (4, 2) cross: the middle of a square in perspective."""
    one, other = four[2] - four[0], four[3] - four[1]
    along = np.linalg.solve(np.stack([one, -other], 1), four[1] - four[0])[0]
    return four[0] + along * one


def _checkerboard(images: list[Image], square_m: float) -> CalibrationBoard | None:
    """A checkerboard of the size that is found most often; see `recognise_board`."""
    import cv2

    sizes: Counter[tuple[int, int]] = Counter()
    for image in images[:: -(-len(images) // _MOST_SQUARES)]:
        scale = min(1.0, _SQUARES_PX / max(image.shape))
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        is_found, _, meta = cv2.findChessboardCornersSBWithMeta(small, (3, 3), cv2.CALIB_CB_LARGER)
        if is_found and meta.shape != (3, 3):
            down, across = sorted(meta.shape[:2])
            sizes[across, down] += 1
    if not sizes:
        return None
    across, down = max(sizes, key=lambda size: (sizes[size], size))
    try:
        return CalibrationBoard("checkerboard", across + 1, down + 1, square_m)
    except InputError as error:  # the same upside down
        if sizes[across, down] > 1:
            raise InputError(f"the images show a board that cannot be used: {error}") from None
        return None
