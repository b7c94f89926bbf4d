"""Sightings of targets in images and videos: by which camera, in which frame set, at which pixels."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from sonjit.arrays import FloatArray, Image, IndexArray
from sonjit.errors import InputError
from sonjit.media import open_source
from sonjit.multiview.calibration.board import CalibrationBoard, CalibrationTarget, MarkerBody
from sonjit.multiview.cameras.views import frame_numbers

_FEWEST_POINTS = 6
"""Points that an image must show to count; a target of one marker has but four."""

Placed = tuple[int, CalibrationTarget]
"""A frame set and a target, which has one pose in it."""


@dataclass(frozen=True, eq=False)
class Sighting:
    """A target in one image.

    Attributes:
        target: which.
        view: name of the camera.
        frame: number of the frame set, the same in all views.
        points: (n,) numbers of the target's points.
        pixels: (n, 2) where they are.
    """

    target: CalibrationTarget
    view: str
    frame: int
    points: IndexArray
    pixels: FloatArray

    @property
    def points_m(self) -> FloatArray:
        """(n, 3) of them in the target's axes."""
        return self.target.points_m[self.points]

    @property
    def placed(self) -> Placed:
        """What has one pose."""
        return self.frame, self.target


@dataclass(frozen=True, eq=False)
class Sightings:
    """All sightings of one or more targets.

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


class NoBoardError(InputError):
    """No image of a camera shows the board."""


def find_targets(
    targets: Sequence[CalibrationTarget],
    views: Mapping[str, str | os.PathLike[str]],
    *,
    every: int = 1,
    frame_of: Callable[[str, int], int | None] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Sightings:
    """Detect targets in every camera's images.

    Args:
        targets: boards and bodies that no image takes for one another.
        views: an image, folder, glob or video by each camera's name; images of one number are of one frame set.
        every: use every Nth frame set.
        frame_of: the frame set of a view's image, as `Sync.frame_of`; None leaves it out. By default its number.
        advance: called after each image.

    Raises:
        InputError: a source cannot be read, its images change their size, or two targets have markers in common.
        NoBoardError: a camera's images show no target, or a target is in no image.
    """
    found: list[Sighting] = []
    sizes: dict[str, tuple[int, int]] = {}
    problems: list[str] = []
    _tell_apart(targets)
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
                        f"{source.frame_source(image.index) or f'{named}: image {image.index}'} of camera {name!r} has "
                        f"{width} x {height} pixels and those before had {sizes[name][0]} x {sizes[name][1]}: one "
                        "camera has one size: leave it out, or name a camera of its own"
                    )
                gray = gray_image(image.rgb)
                for target in targets:
                    points, pixels = target.find(gray)
                    if len(points) >= min(_FEWEST_POINTS, len(target.points_m)):
                        found.append(Sighting(target, name, frame, points, pixels))
                        seen += 1
                advance()
            problems += [f"{name}: {problem}" for problem in source.problems]
        if not seen:
            raise NoBoardError(f"camera {name!r}: none of the images of {named} shows the board; is --board right?")
    for place, target in enumerate(targets):
        if all(one.target is not target for one in found):
            raise NoBoardError(f"no camera shows board {place + 1} of {len(targets)}; is its --board right?")
    return Sightings(tuple(found), sizes, tuple(problems))


def _tell_apart(targets: Sequence[CalibrationTarget]) -> None:
    """Refuse targets that look alike: the same squares, or markers of one dictionary and number."""
    for one, other in combinations(range(len(targets)), 2):
        if _looks(targets[one]) & _looks(targets[other]):
            raise InputError(
                f"boards {one + 1} and {other + 1} of {len(targets)} look alike: give each markers of its own, by "
                "another dictionary or, in a .json, other numbers; checkerboards another number of corners"
            )


def _looks(target: CalibrationTarget) -> set[tuple[str, bool, int]]:
    """What a target is recognised by: its markers, or the number of its squares."""
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
    """(H, W) of an RGB image (H, W, 3)."""
    import cv2

    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
