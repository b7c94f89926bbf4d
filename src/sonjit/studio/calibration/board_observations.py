"""Detect calibration targets in images and videos."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from sonjit._util.arrays import FloatArray, Image, IndexArray
from sonjit._util.errors import InputError
from sonjit._util.progress import Progress
from sonjit.media import open_source
from sonjit.studio.calibration.board import CalibrationBoard, CalibrationTarget, MarkerBody
from sonjit.studio.cameras.views import frame_numbers

_MIN_POINTS = 6
"""Least number of points that a detected target must show; a target of one marker has only four."""

PoseKey = tuple[int, CalibrationTarget]
"""Number of a frame set and a target, which has one pose in it."""


@dataclass(frozen=True, eq=False)
class BoardObservation:
    """A target detected in one image.

    Attributes:
        target: Target that was detected.
        view: Name of the camera.
        frame: Number of the frame set, the same in all views.
        points: (n,) indices of the target's points.
        pixels: (n, 2) positions of the points in the image.
    """

    target: CalibrationTarget
    view: str
    frame: int
    points: IndexArray
    pixels: FloatArray

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
    """All observations of one or more targets.

    Attributes:
        found: Observations in the order in which they were read.
        sizes: Width and height of each view's images by name, in the rig's order.
        problems: Files that could not be read, one line each.
    """

    found: tuple[BoardObservation, ...]
    sizes: Mapping[str, tuple[int, int]]
    problems: tuple[str, ...] = ()

    def of(self, view: str) -> list[BoardObservation]:
        """Return the observations of one camera."""
        return [observation for observation in self.found if observation.view == view]


class BoardNotFoundError(InputError):
    """No image of a camera shows the board."""


def find_targets(
    targets: Sequence[CalibrationTarget],
    views: Mapping[str, str | os.PathLike[str]],
    *,
    every: int = 1,
    frame_of: Callable[[str, int], int | None] | None = None,
    progress: Progress = Progress(),
) -> BoardObservations:
    """Detect targets in every camera's images.

    Args:
        targets: Boards and bodies that cannot be mistaken for one another.
        views: Image, folder, glob or video by each camera's name. Images of equal number belong to one frame set.
        every: Interval between the frame sets that are used.
        frame_of: Function from a view and image number to its frame set, such as `Sync.frame_of`, or None to skip the
            image. By default the number itself.
        progress: Receiver of the progress in images.

    Raises:
        InputError: A source cannot be read, its images differ in size, or two targets have markers in common.
        BoardNotFoundError: A camera's images show no target, or a target occurs in no image.
    """
    found: list[BoardObservation] = []
    sizes: dict[str, tuple[int, int]] = {}
    problems: list[str] = []
    _check_distinguishable(targets)
    for name, path in views.items():
        count = 0
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
                        found.append(BoardObservation(target, name, frame, points, pixels))
                        count += 1
                progress.advance()
            problems += [f"{name}: {problem}" for problem in source.problems]
        if not count:
            raise BoardNotFoundError(
                f"camera {name!r}: none of the images of {path} shows the board; is --board right?"
            )
    for index, target in enumerate(targets):
        if all(observation.target is not target for observation in found):
            raise BoardNotFoundError(f"no camera shows board {index + 1} of {len(targets)}; is its --board right?")
    return BoardObservations(tuple(found), sizes, tuple(problems))


def _check_distinguishable(targets: Sequence[CalibrationTarget]) -> None:
    """Refuse targets that look alike: equal numbers of squares, or markers of one dictionary and number."""
    for first, second in combinations(range(len(targets)), 2):
        if _recognition_keys(targets[first]) & _recognition_keys(targets[second]):
            raise InputError(
                f"boards {first + 1} and {second + 1} of {len(targets)} look alike: give each markers of its own, by "
                "another dictionary or, in a .json, other numbers; checkerboards another number of corners"
            )


def _recognition_keys(target: CalibrationTarget) -> set[tuple[str, bool, int]]:
    """Return the features by which a target is recognised: its markers, or the number of its squares."""
    match target:
        case MarkerBody():
            family, inverted, numbers = target.dictionary, False, set(target.corners_m)
        case CalibrationBoard(kind="checkerboard"):
            return {(f"{target.columns} x {target.rows} squares", False, 0)}
        case _:
            count = target.columns * target.rows
            family, inverted = target.dictionary, target.inverted
            numbers = set(range(count if target.is_grid else count // 2))
    base = family if family.startswith("APRILTAG") else family.partition("_")[0]  # 4X4_50 begins 4X4_100
    return {(base, inverted, number) for number in numbers}


def gray_image(rgb: Image) -> Image:
    """Convert an RGB image (H, W, 3) to grey (H, W)."""
    import cv2

    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
