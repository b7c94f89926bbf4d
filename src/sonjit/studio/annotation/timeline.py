"""Read the times and the brightness of a camera's images."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sonjit._util.arrays import FloatArray, IndexArray
from sonjit._util.errors import InputError
from sonjit._util.progress import Progress
from sonjit.lab.datasets.reading import file_bytes
from sonjit.media import Source, open_source
from sonjit.studio.annotation.sound import read_onsets
from sonjit.studio.cameras.names import match_camera
from sonjit.studio.cameras.views import frame_numbers

_LATE_RATIO = 1.5
"""Step in periods from which images are missing."""

_PIXEL_STRIDE = 4
"""Interval between compared pixels, across and down."""
_REPEAT_LEVELS, _REPEAT_RATIO = 0.02, 0.1
"""An image repeats the previous one if their mean difference is below either limit.

The first is in grey levels, below a camera's noise. The second is relative to the differences of neighbouring images,
for repeats that were compressed again."""
_REPEAT_WINDOW = 15
"""Number of neighbouring images for this comparison."""
_TIMECODE = re.compile(r"(\d+):(\d+):(\d+)[:;](\d+)")


@dataclass(frozen=True, eq=False)
class Timeline:
    """The times and brightness of one camera's images.

    Attributes:
        index: (n,) number of each image in its source. A gap is an image that could not be read.
        time_s: (n,) times by the source's clock or a file of time stamps, NaN for stills without.
        brightness: (n,) mean grey levels.
        timecode_s: Time of day at which a video starts by its timecode, or None.
        duplicates: Numbers of images that repeat the previous one.
        problems: Images that could not be read, one line each.
        onsets: Onsets of the video's sound, see `read_onsets`. None if it was not requested or does not exist.
    """

    index: IndexArray
    time_s: FloatArray
    brightness: FloatArray
    timecode_s: float | None = None
    duplicates: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()
    onsets: FloatArray | None = None

    @property
    def period_s(self) -> float:
        """Median time between images, NaN without times."""
        steps = np.diff(self.time_s)
        return float(np.median(steps)) if len(steps) and np.isfinite(steps).all() else float("nan")

    @property
    def dropped(self) -> tuple[tuple[int, int], ...]:
        """Numbers of images after which some are missing by the times, and how many."""
        steps = np.diff(self.time_s) / self.period_s
        late = np.flatnonzero(steps > _LATE_RATIO)
        return tuple((int(self.index[at]), round(float(steps[at])) - 1) for at in late)


def read_timeline(
    named: str | os.PathLike[str],
    stamps: FloatArray | None = None,
    progress: Progress = Progress(),
    *,
    sound: bool = False,
) -> Timeline:
    """Read a source once for its times, brightness and repeated images.

    Args:
        named: Video or folder of images.
        stamps: Time of each image in seconds, see `read_stamps`. By default the source's own.
        progress: Receiver of the progress in images.
        sound: If True, read a video's sound, too.

    Raises:
        InputError: The source cannot be read, has no image, or the number of stamps differs.
    """
    index: list[int] = []
    times: list[float] = []
    levels: list[float] = []
    steps: list[float] = []
    last: NDArray[np.int16] | None = None
    with open_source(Path(named)) as source:
        numbers = frame_numbers(source.files) if source.kind == "folder" else None
        timecode_s = _timecode_s(source)
        for image in source:
            number = numbers[image.index] if numbers else image.index
            small = image.rgb[::_PIXEL_STRIDE, ::_PIXEL_STRIDE].astype(np.int16)
            steps.append(
                float(np.abs(small - last).mean()) if last is not None and last.shape == small.shape else np.inf
            )
            last = small
            index.append(number)
            times.append(float("nan") if image.time is None else image.time)
            levels.append(float(small.mean()))
            progress.advance()
        problems = tuple(source.problems)
        sound_onsets = read_onsets(Path(source.files[0])) if sound and source.kind == "video" and source.files else None
    if not index:
        raise InputError(f"{named} contains no readable image")
    if stamps is not None and (len(stamps) != len(times) or not (np.diff(stamps) > 0).all()):
        raise InputError(f"{named}: {len(stamps)} times for {len(times)} images; they must be as many, and rise")
    time_s = np.array(times) if stamps is None else stamps
    duplicates = tuple(number for number, same in zip(index, _is_repeated(np.array(steps)), strict=True) if same)
    return Timeline(
        index=np.array(index),
        time_s=time_s,
        brightness=np.array(levels),
        timecode_s=timecode_s,
        duplicates=duplicates,
        problems=problems,
        onsets=sound_onsets,
    )


def _is_repeated(steps: FloatArray) -> NDArray[np.bool_]:
    """Return which images (n,) repeat the previous one, given their differences, infinity where unknown."""
    half = _REPEAT_WINDOW // 2
    around = sliding_window_view(np.pad(steps, half, mode="reflect" if len(steps) > half else "edge"), 2 * half + 1)
    return steps < np.maximum(_REPEAT_LEVELS, _REPEAT_RATIO * np.median(around, axis=1))


def read_stamps(path: Path, view: str) -> FloatArray:
    """Read the time of each image of a camera in seconds.

    Args:
        path: Folder with VIEW.txt, one time per line, or caliscope's `timestamps.csv` with a row for each image and the
            columns cam_id and frame_time.
        view: Name of the camera. Camera 3 of the table is cam_3 or 3, or a longer name, see `match_camera`.

    Raises:
        InputError: The file cannot be read, or has no times of the camera.
    """
    if path.suffix.lower() != ".csv":
        path /= f"{match_camera(view, [file.stem for file in path.glob('*.txt')]) or view}.txt"
        words = file_bytes(path).decode(errors="replace").split()
    else:
        rows = list(csv.DictReader(file_bytes(path).decode(errors="replace").splitlines()))
        cameras = {f"cam_{row.get('cam_id')}" for row in rows}
        own = (view, (match_camera(view, cameras) or view).removeprefix("cam_"))
        words = [row.get("frame_time") or "" for row in rows if row.get("cam_id") in own]
    try:
        stamps = np.array([float(word) for word in words])
    except ValueError:
        raise InputError(f"{path}: a time in seconds of each image is wanted") from None
    if not len(stamps):
        raise InputError(f"{path}: no times of camera {view!r}; a table has the columns cam_id and frame_time")
    return stamps


def _timecode_s(source: Source) -> float | None:
    """Return the time of day at which a video's timecode starts, or None."""
    if source.kind != "video" or not source.files:
        return None
    import av

    with av.open(str(source.files[0])) as container:
        metadata_records = [dict(container.metadata), *(dict(stream.metadata) for stream in container.streams)]
    for metadata in metadata_records:
        if found := _TIMECODE.match(metadata.get("timecode", "")):
            hours, minutes, seconds, frames = (int(part) for part in found.groups())
            return 3600 * hours + 60 * minutes + seconds + (frames / source.fps if source.fps else 0)
    return None


def flash_times(line: Timeline) -> FloatArray:
    """Return the times (n,) of sudden rises in brightness, interpolated to half of the rise.

    An image in which a flash begins has intermediate brightness, which gives the fraction of the frame period. Without
    one, the flash is between two images, with an error of half a period.
    """
    rise = np.diff(line.brightness)
    median_change = float(np.median(np.abs(rise - np.median(rise)))) if len(rise) else 0.0
    min_rise = max(12 * median_change, 0.15 * float(np.ptp(line.brightness)), 2.0)
    times_found: list[float] = []
    row = 0
    while row < len(rise):
        if rise[row] < min_rise:
            row += 1
            continue
        end = row
        while end + 1 < len(rise) and rise[end + 1] > 0.1 * rise[row]:
            end += 1
        low, high = line.brightness[row], line.brightness[end + 1]
        levels, times = line.brightness[row : end + 2], line.time_s[row : end + 2]
        times_found.append(float(np.interp((low + high) / 2, levels, times)))
        row = end + 1
    return np.array(times_found)
