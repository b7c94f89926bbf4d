"""Read and write which image of each camera belongs to which frame set, as `sonjit annotate sync --out` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sonjit._util.data_files import read_json, write_json
from sonjit._util.errors import InputError
from sonjit.lab.datasets.reading import field
from sonjit.studio.cameras.names import match_camera


@dataclass(frozen=True)
class CameraFrames:
    """The images of one camera by frame set.

    Attributes:
        frame_sets: Number of the frame set by the number of the image. Images of no frame set are absent.
        offset_s: Seconds to add to the camera's times to get those of the first camera.
        drift_ppm: Parts per million by which the camera's seconds are too short.
        times_s: Time of every frame set by the first camera's clock. Empty if unknown.
    """

    frame_sets: Mapping[int, int]
    offset_s: float = 0.0
    drift_ppm: float = 0.0
    times_s: tuple[float, ...] = ()


def save_frame_sets(path: Path, cameras: Mapping[str, CameraFrames], warnings: Sequence[str] = ()) -> None:
    """Write a JSON file of frame sets.

    It has `clocks`, `times_s`, `warnings` and `images`: the number of each camera's image in every frame set, or -1.
    """
    count = 1 + max((row for camera in cameras.values() for row in camera.frame_sets.values()), default=-1)
    images = {name: [-1] * count for name in cameras}
    for name, camera in cameras.items():
        for image, row in camera.frame_sets.items():
            images[name][row] = image
    clocks = {name: {"offset_s": camera.offset_s, "drift_ppm": camera.drift_ppm} for name, camera in cameras.items()}
    times = next((camera.times_s for camera in cameras.values()), ())
    record = {"clocks": clocks, "images": images, "times_s": times, "warnings": list(warnings)}
    write_json(path, record)


def load_frame_sets(path: Path, cameras: Sequence[str]) -> dict[str, CameraFrames]:
    """Read a file of `save_frame_sets`.

    Args:
        path: JSON file.
        cameras: Names of the cameras to read. Names in the file may be longer, see `match_camera`.

    Raises:
        InputError: The file cannot be read, is of another format, or lacks a camera.
    """
    record = read_json(path)
    images, clocks = field(record, "images", str(path)), field(record, "clocks", str(path))
    try:
        times = tuple(float(time) for time in record.get("times_s", ()))
        frames_by_camera = {
            camera: CameraFrames(
                {int(image): row for row, image in enumerate(images[name]) if image >= 0},
                float(clocks[name]["offset_s"]),
                float(clocks[name]["drift_ppm"]),
                times,
            )
            for name in images
            if (camera := match_camera(name, cameras)) is not None
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(f"{path} is not a file of sonjit annotate sync --out") from None
    if missing := [name for name in cameras if name not in frames_by_camera]:
        raise InputError(f"{path} has no images of camera {missing[0]!r}: it has {', '.join(images)}")
    return frames_by_camera
