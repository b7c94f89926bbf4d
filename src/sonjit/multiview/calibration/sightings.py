"""Sightings of a target in images and videos: by which camera, in which frame set, at which pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError
from sonjit.media import open_source
from sonjit.multiview.cameras.views import frame_numbers

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from sonjit.multiview.calibration.board import CalibrationTarget

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
    points: NDArray[np.intp]
    pixels: NDArray[np.float64]


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
        with open_source(named) as source:
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


def _gray(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
