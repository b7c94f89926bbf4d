"""Recognise which calibration board images show."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from sonjit._util import FloatArray, Image, InputError, pools
from sonjit.media import open_source
from sonjit_studio.boards import (
    BoardObservation,
    BoardObservations,
    CalibrationBoard,
    CalibrationTarget,
    MarkerBody,
    check_board,
    detect_markers,
    gray_image,
)
from sonjit_studio.views import frame_numbers

_MIN_POINTS = 6  # least number of points that a detected target must show; a target of one marker has only four
_DICTIONARY_SIZES: dict[str, tuple[int, ...]] = {  # families, with the sizes of those that contain each other
    **{f"{side}X{side}": (50, 100, 250, 1000) for side in (4, 5, 6, 7)},
    "ARUCO_ORIGINAL": (),
    "APRILTAG_16H5": (),
    "APRILTAG_25H9": (),
    "APRILTAG_36H11": (),
}
_MARKER_VARIANTS = [  # family, border in modules, black and white exchanged
    (family, border, is_inverted)
    for family in _DICTIONARY_SIZES
    for border in ((1, 2) if family == "APRILTAG_36H11" else (1,))
    for is_inverted in (False, True)
]
_PROBE_STEP = 4  # interval between the images that are searched for every dictionary
_MIN_MARKERS = 5  # least number of markers of an image that determines a layout: four centres fit any
_MAX_LAYOUT_IMAGES = 12
_MAX_COLUMNS = 30
_CHECKERBOARD_IMAGES, _CHECKERBOARD_PX = 6, 640  # images searched for a checkerboard, and their longer side
_MAX_MISFIT = 0.08  # largest accepted RMS distance of corners from a layout, in squares
_MAX_MARKER_DISTANCE, _MIN_MATCHES = 0.25, 0.6
"""Largest distance of a marker's centre from its layout in squares, and the least fraction of an image's markers below
it. The others are false ones of the background, which may repeat in every image."""
_Markers = tuple[list[FloatArray], list[int]]


class BoardNotFoundError(InputError):
    """No image of a camera shows the board."""


def find_targets(
    targets: Sequence[CalibrationTarget],
    views: Mapping[str, str | os.PathLike[str]],
    *,
    every: int = 1,
    frame_of: Callable[[str, int], int | None] | None = None,
    progress: pools.Progress = pools.Progress(),
) -> BoardObservations:
    """Detect targets, which must differ, in every camera's images; those of equal number belong to one frame set.

    `frame_of` maps a view and image number to its frame set, such as `Sync.frame_of`, or None to skip the image.
    InputError: a source cannot be read, its images differ in size, or two targets share markers. BoardNotFoundError: a
    camera's images show no target, or a target occurs in no image.
    """
    observations: list[BoardObservation] = []
    sizes: dict[str, tuple[int, int]] = {}
    problems: list[str] = []
    for first, second in combinations(range(len(targets)), 2):
        if _recognition_keys(targets[first]) & _recognition_keys(targets[second]):
            raise InputError(
                f"boards {first + 1} and {second + 1} of {len(targets)} look alike: give each markers of its own, by "
                "another dictionary or, in a .json, other numbers; checkerboards another number of corners"
            )
    for name, path in views.items():
        with open_source(Path(path)) as source:
            numbers = frame_numbers(source.files) if source.kind == "folder" else None
            for image in source:
                number = numbers[image.index] if numbers else image.index
                frame = frame_of(name, number) if frame_of else number
                if frame is None or frame % every:
                    continue
                height, width = image.rgb.shape[:2]
                if sizes.setdefault(name, (width, height)) != (width, height):
                    raise InputError(
                        f"{source.frame_source(image.index) or f'{path}: image {image.index}'} of camera {name!r} has "
                        f"{width} x {height} pixels and those before had {sizes[name][0]} x {sizes[name][1]}: all "
                        "images of a camera must have one size"
                    )
                gray = gray_image(image.rgb)
                for target in targets:
                    points, pixels = target.find(gray)
                    if len(points) >= min(_MIN_POINTS, len(target.points_m)):
                        observations.append(BoardObservation(target, name, frame, points, pixels))
                progress.advance()
            problems += [f"{name}: {problem}" for problem in source.problems]
        if not (observations and observations[-1].view == name):
            raise BoardNotFoundError(f"camera {name!r}: no image of {path} shows the board; is --board right?")
    for index, target in enumerate(targets):
        if all(observation.target is not target for observation in observations):
            raise BoardNotFoundError(f"no camera shows board {index + 1} of {len(targets)}; is its --board right?")
    return BoardObservations(tuple(observations), sizes, tuple(problems))


def _recognition_keys(target: CalibrationTarget) -> set[tuple[str, bool, int]]:
    """Return the features by which a target is recognised: its markers, or the number of its squares."""
    match target:
        case MarkerBody():
            family = target.dictionary
            inverted = False
            numbers = set(target.corners_m)
        case CalibrationBoard(kind="checkerboard"):
            return {(f"{target.columns} x {target.rows} squares", False, 0)}
        case _:
            count = target.columns * target.rows
            family, inverted = target.dictionary, target.inverted
            numbers = set(range(count if target.is_grid else count // 2))
    base = family if family.startswith("APRILTAG") else family.partition("_")[0]  # 4X4_50 begins 4X4_100
    return {(base, inverted, number) for number in numbers}


def recognise_board(images: Iterable[Image], *, square_m: float = 1.0) -> CalibrationBoard | None:
    """Return the board in grey images (H, W), None if too little is shown; `square_m` is its square or grid marker."""
    all_images = list(images)
    by_inversion = {False: all_images, True: [255 - image for image in all_images]}
    counts: Counter[tuple[str, int, bool]] = Counter()
    for probed in (slice(0, None, _PROBE_STEP), slice(None)):
        for family, border, is_inverted in _MARKER_VARIANTS:
            for image in by_inversion[is_inverted][probed]:
                numbers = detect_markers(image, _largest_dictionary(family), border)[1]
                counts[family, border, is_inverted] += len(numbers)
        if counts.total() > 1:
            break
    (family, border, is_inverted), _ = counts.most_common(1)[0]
    largest = _largest_dictionary(family)
    markers_by_image = [detect_markers(image, largest, border) for image in by_inversion[is_inverted]]
    frequency = Counter(number for _, ids in markers_by_image for number in ids)
    numbers = [number for number, count in frequency.items() if count > max(1, 0.1 * max(frequency.values()))]
    if not numbers:
        return _recognise_checkerboard(all_images, square_m)
    if numbers == [0]:
        layout, count = CalibrationBoard("aruco", 1, 1, 1.0, 1.0), 1
    else:
        pairs_by_image = (zip(*markers, strict=True) for markers in markers_by_image)
        selected = [[pair for pair in pairs if pair[1] in numbers] for pairs in pairs_by_image]
        markers_by_image = [([quad for quad, _ in pairs], [number for _, number in pairs]) for pairs in selected]
        layout, count = _best_layout(markers_by_image, max(numbers) + 1, border)
    if layout is None:  # what looked like markers may be squares
        return _recognise_checkerboard(all_images, square_m)
    dictionary = next((f"{family}_{size}" for size in _DICTIONARY_SIZES[family] if size >= count), family)
    scale = square_m / (layout.marker_m if layout.is_grid else layout.square_m)
    square, marker = layout.square_m * scale, layout.marker_m * scale
    return replace(layout, dictionary=dictionary, inverted=is_inverted, square_m=square, marker_m=marker)


def _largest_dictionary(family: str) -> str:
    sizes = _DICTIONARY_SIZES[family]
    return f"{family}_{sizes[-1]}" if sizes else family


def _best_layout(markers_by_image: list[_Markers], count: int, border: int) -> tuple[CalibrationBoard | None, int]:
    """Return the layout of unit squares, without dictionary, that most markers fit, or None, and how many fit it."""
    candidates = [markers for markers in markers_by_image if len(markers[1]) >= _MIN_MARKERS]
    clearest = sorted(candidates, key=lambda markers: -len(markers[1]))[:_MAX_LAYOUT_IMAGES]
    best, least_cost = None, np.inf
    for columns in range(1, min(count, _MAX_COLUMNS) + 1):
        for board in _candidate_boards(columns, count, border):
            fits = [fit for corners, ids in clearest if (fit := _fit_board(board, corners, ids)) is not None]
            if len(fits) < max(1, len(clearest) // 2):
                continue
            misfit, share, lost = np.median([fit[:3] for fit in fits], axis=0)
            cost = float(misfit**2 + lost * _MAX_MARKER_DISTANCE**2)  # squares, capped for markers that are elsewhere
            if misfit < _MAX_MISFIT and cost < least_cost and 0.1 < share < 0.99:
                best = replace(board, marker_m=round(float(share), 3 if board.is_grid else 2))
                least_cost = cost
    if best is None:
        return None, count
    fits = [fit for markers in candidates if (fit := _fit_board(best, *markers)) is not None]
    marker_count = 1 + max(number for fit in fits for number in fit[3])
    same = (best.kind, best.legacy)
    boards = _candidate_boards(best.columns, marker_count, border)
    return replace(best, rows=next(board.rows for board in boards if (board.kind, board.legacy) == same)), marker_count


def _candidate_boards(columns: int, count: int, border: int) -> list[CalibrationBoard]:
    if border > 1:
        return [CalibrationBoard("aprilgrid", columns, -(-count // columns), 1.0, 0.75)] if count > 1 else []
    boards = [CalibrationBoard("aruco", columns, -(-count // columns), 1.0, 0.75)]
    if columns >= 3:
        rows = 3
        while columns * rows // 2 < count:
            rows += 1
        boards.append(CalibrationBoard("charuco", columns, rows, 1.0, 0.75))
        boards.append(CalibrationBoard("charuco", columns, rows + rows % 2, 1.0, 0.75, legacy=True))
    return boards


def _fit_board(
    board: CalibrationBoard, corners: list[FloatArray], ids: list[int]
) -> tuple[float, float, float, list[int]] | None:
    """Fit a board's layout to the markers of an image; None if few match, or all are on a line.

    Return the corners' RMS distance and the marker's side in squares, the fraction of others, and the matching numbers.
    """
    import cv2

    middles = _marker_centres(board)
    if max(ids) >= len(middles) or _are_collinear(centres := middles[ids]):
        return None
    crossings = np.stack([_diagonal_intersection(quad) for quad in corners])
    to_board, agree = cv2.findHomography(crossings, centres, cv2.RANSAC, _MAX_MARKER_DISTANCE)
    if np.shape(to_board) != (3, 3):
        return None
    is_match = np.ravel(np.asarray(agree)) > 0
    centres = centres[is_match]
    if is_match.sum() < max(_MIN_MARKERS, _MIN_MATCHES * len(ids)) or _are_collinear(centres):
        return None
    quads = np.stack(corners)[is_match].reshape(1, -1, 2)
    on_board = cv2.perspectiveTransform(quads, np.asarray(to_board, np.float64))[0].reshape(-1, 4, 2) - centres[:, None]
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (-1 if board.kind == "aprilgrid" else 1)
    half = float((on_board * signs).mean())
    misfit = float(np.sqrt(((on_board - half * signs) ** 2).sum(-1).mean()))
    return misfit, 2 * half, float(1 - is_match.mean()), np.array(ids)[is_match].tolist()


def _are_collinear(points: FloatArray) -> bool:
    """Check whether points (N, 2) lie on a line."""
    return bool(np.linalg.matrix_rank(points - points.mean(0), tol=0.1) < 2)


def _marker_centres(board: CalibrationBoard) -> FloatArray:
    """Return the markers' centres (N, 2) in squares, by number."""
    cells = np.array([(column, row) for row in range(board.rows) for column in range(board.columns)])
    match board.kind:
        case "charuco":
            return cells[cells.sum(1) % 2 == (0 if board.legacy else 1)] + 0.5
        case "aprilgrid":
            return cells * np.array([1, -1]) + 0.5
        case _:
            return cells + 0.5


def _diagonal_intersection(quad: FloatArray) -> FloatArray:
    """Return the intersection (2,) of the diagonals of four corners (4, 2): a square's centre in perspective."""
    first, second = quad[2] - quad[0], quad[3] - quad[1]
    fraction = np.linalg.solve(np.stack([first, -second], 1), quad[1] - quad[0])[0]
    return quad[0] + fraction * first


def _recognise_checkerboard(images: list[Image], square_m: float) -> CalibrationBoard | None:
    """Return a checkerboard of the size that is found most often, see `recognise_board`."""
    import cv2

    sizes: Counter[tuple[int, int]] = Counter()
    for image in images[:: -(-len(images) // _CHECKERBOARD_IMAGES)]:
        scale = min(1.0, _CHECKERBOARD_PX / max(image.shape))
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        is_found, _, meta = cv2.findChessboardCornersSBWithMeta(small, (3, 3), cv2.CALIB_CB_LARGER)
        if is_found and meta.shape != (3, 3):
            down, across = sorted(meta.shape[:2])
            sizes[across, down] += 1
    if not sizes:
        return None
    across, down = max(sizes, key=lambda size: (sizes[size], size))
    board = CalibrationBoard("checkerboard", across + 1, down + 1, square_m)
    try:
        check_board(board)
    except InputError as error:  # the same upside down
        if sizes[across, down] > 1:
            raise InputError(f"the images show a board that cannot be used: {error}") from None
        return None
    return board
