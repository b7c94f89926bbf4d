"""One camera's pictures as time went by: their times, how bright they are, what was dropped or doubled."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sonjit.datasets.reading import file_bytes
from sonjit.errors import InputError
from sonjit.media import open_source
from sonjit.multiview.views import frame_numbers

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sonjit.media import Source

_STRIDE = 4
"""Every so-manyth pixel across and down is looked at."""
_SAME = 0.02
"""Mean grey levels below which two pictures are one given twice: the noise of a camera alone makes more."""
_LATE_SHARE = 1.5
_TIMECODE = re.compile(r"(\d+):(\d+):(\d+)[:;](\d+)")


@dataclass(frozen=True, eq=False)
class Timeline:
    """One camera's pictures as time went by.

    Attributes:
        index: (n,) number of each picture in its source; a gap is a picture that could not be read.
        time_s: (n,) by the source's clock, or as a file of stamps says; NaN for stills without.
        brightness: (n,) mean grey level.
        timecode_s: time of day at which a video says it starts; None where it does not.
        duplicates: numbers of pictures that repeat the one before.
        problems: what could not be read.
    """

    index: NDArray[np.intp]
    time_s: NDArray[np.float64]
    brightness: NDArray[np.float64]
    timecode_s: float | None = None
    duplicates: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def period_s(self) -> float:
        """Median time from one picture to the next; NaN without times."""
        steps = np.diff(self.time_s)
        return float(np.median(steps)) if len(steps) and np.isfinite(steps).all() else float("nan")

    @property
    def dropped(self) -> tuple[tuple[int, int], ...]:
        """Numbers of pictures after which some are missing, and how many, by the times."""
        steps = np.diff(self.time_s) / self.period_s
        late = np.flatnonzero(steps > _LATE_SHARE)
        return tuple((int(self.index[at]), round(float(steps[at])) - 1) for at in late)


def read_timeline(
    named: str | os.PathLike[str], stamps: Path | None = None, advance: Callable[[], None] = lambda: None
) -> Timeline:
    """Read a source once for its times, brightness and repeated pictures.

    Args:
        named: a video, or a folder of pictures.
        stamps: a text file with the time of each picture, seconds, a line each.
        advance: called after each picture.

    Raises:
        InputError: it cannot be read, holds no picture, or the stamps are not one for each.
    """
    index: list[int] = []
    times: list[float] = []
    levels: list[float] = []
    duplicates: list[int] = []
    last: NDArray[np.int16] | None = None
    with open_source(named) as source:
        numbers = frame_numbers(source.files) if source.kind == "folder" else None
        timecode_s = _timecode_s(source)
        for picture in source:
            number = numbers[picture.index] if numbers else picture.index
            small = picture.rgb[::_STRIDE, ::_STRIDE].astype(np.int16)
            if last is not None and last.shape == small.shape and np.abs(small - last).mean() < _SAME:
                duplicates.append(number)
            last = small
            index.append(number)
            times.append(float("nan") if picture.time is None else picture.time)
            levels.append(float(small.mean()))
            advance()
        problems = tuple(source.problems)
    if not index:
        raise InputError(f"{named} holds no picture that can be read")
    time_s = np.array(times) if stamps is None else _stamps(stamps, len(times))
    return Timeline(np.array(index), time_s, np.array(levels), timecode_s, tuple(duplicates), problems)


def _stamps(path: Path, count: int) -> NDArray[np.float64]:
    try:
        stamps = np.array([float(word) for word in file_bytes(path).split()])
    except ValueError:
        raise InputError(f"{path}: a time in seconds on each line is wanted") from None
    if len(stamps) != count or not (np.diff(stamps) > 0).all():
        raise InputError(f"{path}: {len(stamps)} times for {count} pictures; they must be as many, and rise")
    return stamps


def _timecode_s(source: Source) -> float | None:
    """Time of day at which a video's own timecode starts; None without."""
    if source.kind != "video" or not source.files:
        return None
    import av

    with av.open(str(source.files[0])) as container:
        stated = [dict(container.metadata), *(dict(stream.metadata) for stream in container.streams)]
    for metadata in stated:
        found = _TIMECODE.match(metadata.get("timecode", ""))
        if found:
            hours, minutes, seconds, frames = (int(part) for part in found.groups())
            return 3600 * hours + 60 * minutes + seconds + (frames / source.fps if source.fps else 0)
    return None


def flash_times(line: Timeline) -> NDArray[np.float64]:
    """(n,) times at which it became suddenly brighter, between pictures: where half of the rise was reached.

    A picture that a flash began in is of middle brightness, which gives the part of a picture's time; without one the
    flash lies between two pictures, and half a period is as near as it is known.
    """
    rise = np.diff(line.brightness)
    usual = float(np.median(np.abs(rise - np.median(rise)))) if len(rise) else 0.0
    least = max(12 * usual, 0.15 * float(np.ptp(line.brightness)), 2.0)
    found: list[float] = []
    at = 0
    while at < len(rise):
        if rise[at] < least:
            at += 1
            continue
        end = at
        while end + 1 < len(rise) and rise[end + 1] > 0.1 * rise[at]:
            end += 1
        low, high = line.brightness[at], line.brightness[end + 1]
        levels, times = line.brightness[at : end + 2], line.time_s[at : end + 2]
        found.append(float(np.interp((low + high) / 2, levels, times)))
        at = end + 1
    return np.array(found)
