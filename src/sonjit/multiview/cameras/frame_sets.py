"""Which image of each camera belongs to which frame set, as `sonjit annotate sync --out` found it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sonjit.datasets.reading import field, load_json
from sonjit.errors import InputError
from sonjit.files import write_text
from sonjit.multiview.cameras.names import camera_named


@dataclass(frozen=True)
class CameraFrames:
    """The images of one camera.

    Attributes:
        frame_sets: of the number of an image that of its frame set; images that belong to none are not in it.
        offset_s: to add to the camera's times to have those of the first camera.
        drift_ppm: by how many parts in a million the camera's seconds are too short.
        times_s: of every frame set, by the first camera's clock; empty where none are known.
    """

    frame_sets: Mapping[int, int]
    offset_s: float = 0.0
    drift_ppm: float = 0.0
    times_s: tuple[float, ...] = ()


def save_frame_sets(path: Path, cameras: Mapping[str, CameraFrames], warnings: Sequence[str] = ()) -> None:
    """Write JSON: `clocks`, `times_s`, and in `images` the number of each camera's image of every frame set, or -1."""
    count = 1 + max((row for one in cameras.values() for row in one.frame_sets.values()), default=-1)
    images = {name: [-1] * count for name in cameras}
    for name, one in cameras.items():
        for image, row in one.frame_sets.items():
            images[name][row] = image
    clocks = {name: {"offset_s": one.offset_s, "drift_ppm": one.drift_ppm} for name, one in cameras.items()}
    times = next((one.times_s for one in cameras.values()), ())
    record = {"clocks": clocks, "images": images, "times_s": times, "warnings": list(warnings)}
    write_text(path, json.dumps(record) + "\n")


def load_frame_sets(path: Path, cameras: Sequence[str]) -> dict[str, CameraFrames]:
    """Read what `save_frame_sets` wrote.

    Args:
        path: the JSON.
        cameras: names of those that are wanted; those in the file may be longer, see `camera_named`.

    Raises:
        InputError: it cannot be read, is something else, or lacks a camera.
    """
    read = load_json(path)
    images, clocks = field(read, "images", str(path)), field(read, "clocks", str(path))
    try:
        times = tuple(float(time) for time in read.get("times_s", ()))
        found = {
            named: CameraFrames(
                {int(image): row for row, image in enumerate(images[name]) if image >= 0},
                float(clocks[name]["offset_s"]),
                float(clocks[name]["drift_ppm"]),
                times,
            )
            for name in images
            if (named := camera_named(name, cameras)) is not None
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(f"{path} is not what sonjit annotate sync --out writes") from None
    if lacking := [name for name in cameras if name not in found]:
        raise InputError(f"{path} has no images of camera {lacking[0]!r}: it has {', '.join(images)}")
    return found
