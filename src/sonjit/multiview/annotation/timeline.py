"""Synchronisation: each camera's times and brightness, and which images of several cameras make up a frame set.

A camera's clock runs as `time = (1 + drift) own time + offset`, fitted by least squares to what both cameras saw.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sonjit.arrays import FloatArray, IndexArray
from sonjit.datasets.reading import file_bytes
from sonjit.errors import InputError
from sonjit.media import Source, open_source
from sonjit.multiview.annotation.sound import read_onsets, sound_shifts
from sonjit.multiview.cameras.frame_sets import CameraFrames
from sonjit.multiview.cameras.names import camera_named
from sonjit.multiview.cameras.views import frame_numbers
from sonjit.runs.processor import counted

_STRIDE = 4
"""Every Nth pixel across and down is compared."""

_SAME, _SAME_SHARE = 0.02, 0.1
"""An image repeats the one before where they differ by less grey levels on average, for a camera's noise alone is more;
or by less than this share of what the images around them differ by, as repeats do that were compressed once more."""

_AROUND = 15
"""Images around one that show how much the images of that time differ."""

_LATE_SHARE = 1.5
_TIMECODE = re.compile(r"(\d+):(\d+):(\d+)[:;](\d+)")


@dataclass(frozen=True, eq=False)
class Timeline:
    """The times and brightness of one camera's images.

    Attributes:
        index: (n,) number of each image in its source; a gap is an image that could not be read.
        time_s: (n,) by the source's clock or a file of time stamps; NaN for stills without.
        brightness: (n,) mean grey level.
        timecode_s: time of day at which a video starts, by its timecode; None without.
        duplicates: numbers of images that repeat the previous one.
        problems: what could not be read.
        onsets: of the video's sound, see `read_onsets`; None where it was not asked for or has none.
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
        """Median time from one image to the next; NaN without times."""
        steps = np.diff(self.time_s)
        return float(np.median(steps)) if len(steps) and np.isfinite(steps).all() else float("nan")

    @property
    def dropped(self) -> tuple[tuple[int, int], ...]:
        """Numbers of images after which some are missing, and how many, by the times."""
        steps = np.diff(self.time_s) / self.period_s
        late = np.flatnonzero(steps > _LATE_SHARE)
        return tuple((int(self.index[at]), round(float(steps[at])) - 1) for at in late)


def read_timeline(
    named: str | os.PathLike[str],
    stamps: FloatArray | None = None,
    advance: Callable[[], None] = lambda: None,
    *,
    sound: bool = False,
) -> Timeline:
    """Read a source once for its times, brightness and repeated images.

    Args:
        named: a video, or a folder of images.
        stamps: the time of each image, seconds, as `read_stamps` gives them; by default the source's own.
        advance: called after each image.
        sound: also read a video's sound.

    Raises:
        InputError: it cannot be read, holds no image, or the stamps are not one for each.
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
            small = image.rgb[::_STRIDE, ::_STRIDE].astype(np.int16)
            steps.append(
                float(np.abs(small - last).mean()) if last is not None and last.shape == small.shape else np.inf
            )
            last = small
            index.append(number)
            times.append(float("nan") if image.time is None else image.time)
            levels.append(float(small.mean()))
            advance()
        problems = tuple(source.problems)
        heard = read_onsets(Path(source.files[0])) if sound and source.kind == "video" and source.files else None
    if not index:
        raise InputError(f"{named} holds no image that can be read")
    if stamps is not None and (len(stamps) != len(times) or not (np.diff(stamps) > 0).all()):
        raise InputError(f"{named}: {len(stamps)} times for {len(times)} images; they must be as many, and rise")
    time_s = np.array(times) if stamps is None else stamps
    duplicates = tuple(number for number, same in zip(index, _repeated(np.array(steps)), strict=True) if same)
    return Timeline(np.array(index), time_s, np.array(levels), timecode_s, duplicates, problems, heard)


def _repeated(steps: FloatArray) -> NDArray[np.bool_]:
    """(n,) which images repeat the one before them, by how much each differs from it; infinite where none is known."""
    half = _AROUND // 2
    around = sliding_window_view(np.pad(steps, half, mode="reflect" if len(steps) > half else "edge"), 2 * half + 1)
    return steps < np.maximum(_SAME, _SAME_SHARE * np.median(around, axis=1))


def read_stamps(path: Path, view: str) -> FloatArray:
    """When each image of a camera was taken, seconds.

    Args:
        path: a folder with VIEW.txt, a time on each line; or caliscope's `timestamps.csv` with a row for each image and
            the columns cam_id and frame_time.
        view: the camera's name; that of number 3 in the table is cam_3, or 3. Longer names may name it, see
            `camera_named`.

    Raises:
        InputError: it cannot be read, or has no times of the camera.
    """
    if path.suffix.lower() != ".csv":
        path /= f"{camera_named(view, [file.stem for file in path.glob('*.txt')]) or view}.txt"
        words = file_bytes(path).decode(errors="replace").split()
    else:
        rows = list(csv.DictReader(file_bytes(path).decode(errors="replace").splitlines()))
        cameras = {f"cam_{row.get('cam_id')}" for row in rows}
        own = (view, (camera_named(view, cameras) or view).removeprefix("cam_"))
        words = [row.get("frame_time") or "" for row in rows if row.get("cam_id") in own]
    try:
        stamps = np.array([float(word) for word in words])
    except ValueError:
        raise InputError(f"{path}: a time in seconds of each image is wanted") from None
    if not len(stamps):
        raise InputError(f"{path}: no times of camera {view!r}; a table has the columns cam_id and frame_time")
    return stamps


def _timecode_s(source: Source) -> float | None:
    """Time of day at which a video's own timecode starts; None without."""
    if source.kind != "video" or not source.files:
        return None
    import av

    with av.open(str(source.files[0])) as container:
        stated = [dict(container.metadata), *(dict(stream.metadata) for stream in container.streams)]
    for metadata in stated:
        if found := _TIMECODE.match(metadata.get("timecode", "")):
            hours, minutes, seconds, frames = (int(part) for part in found.groups())
            return 3600 * hours + 60 * minutes + seconds + (frames / source.fps if source.fps else 0)
    return None


def flash_times(line: Timeline) -> FloatArray:
    """(n,) times at which it became suddenly brighter, between images: where half of the rise was reached.

    An image that a flash began in is of middle brightness, which gives the part of an image's time; without one the
    flash lies between two images, and half a period is as near as it is known.
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


SyncMethod = Literal["index", "time", "timecode", "flash", "sound"]

_NEAR_S = 0.1
"""Flashes of two cameras this near are one."""

_KNOWN_SHARE = 2 / 3
"""A drift is known where it moves flashes by more than this part of an image's time: two of a third each."""

_DRIFTS_PPM = 200


@dataclass(frozen=True)
class Clock:
    """How a camera's clock differs from the first camera's.

    Attributes:
        offset_s: to add to its times.
        drift_ppm: by how many parts in a million its seconds are too short.
        rms_s: of what both saw, after the fit; NaN where nothing was fitted.
    """

    offset_s: float = 0.0
    drift_ppm: float = 0.0
    rms_s: float = float("nan")


@dataclass(frozen=True, eq=False)
class Sync:
    """Which images make up each frame set.

    Attributes:
        names: of the cameras.
        images: (F, C) number of each camera's image of a frame set; -1 where it has none.
        off_s: (F, C) by how much the image is later than its frame set; NaN where there is none or no clock.
        clocks: by camera.
        times_s: (F,) of the frame sets, by the first camera's clock; (0,) where they were matched by numbers.
        warnings: what was found wrong, one line each.
    """

    names: tuple[str, ...]
    images: IndexArray
    off_s: FloatArray
    clocks: Mapping[str, Clock]
    times_s: FloatArray
    warnings: tuple[str, ...]

    def cameras(self) -> dict[str, CameraFrames]:
        """Of each camera the frame sets of its images, and its clock."""
        return {
            name: CameraFrames(
                {int(image): row for row, image in enumerate(images) if image >= 0},
                self.clocks[name].offset_s,
                self.clocks[name].drift_ppm,
                tuple(self.times_s.tolist()),
            )
            for name, images in zip(self.names, self.images.T.tolist(), strict=True)
        }

    def frame_of(self, name: str, image: int) -> int | None:
        """The frame set of a camera's image; None where it belongs to none."""
        found = np.flatnonzero(self.images[:, self.names.index(name)] == image)
        return int(found[0]) if len(found) else None


def synchronise(timelines: Mapping[str, Timeline], method: SyncMethod) -> Sync:
    """Match the images of several cameras into frame sets.

    Args:
        timelines: by camera; the first one's clock counts.
        method: by the images' numbers; by their times, taken as of one clock; by the timecode at which each video
            starts; by flashes of light, which every camera must see once, and twice for its drift to be known; or by
            sound such as a clap.

    Raises:
        InputError: no times, timecode or sound, a camera saw no flash, or flashes or sounds that do not fit together.
    """
    names = tuple(timelines)
    if method == "index":
        clocks = dict.fromkeys(names, Clock())
        numbers = np.unique(np.concatenate([line.index for line in timelines.values()]))
        images = np.stack([np.where(np.isin(numbers, line.index), numbers, -1) for line in timelines.values()], 1)
        off_s, times = np.full(images.shape, np.nan), np.zeros(0)
    else:
        if blind := [name for name, line in timelines.items() if not np.isfinite(line.time_s).all()]:
            raise InputError(f"camera {blind[0]!r} has images without times: synchronise by index")
        of_method = {
            "flash": _clocks_from_flashes,
            "timecode": _clocks_from_timecodes,
            "sound": _clocks_from_sounds,
        }
        clocks = of_method[method](timelines) if method in of_method else dict.fromkeys(names, Clock())
        images, off_s, times = _matched(timelines, clocks)
    return Sync(names, images, off_s, clocks, times, tuple(_warnings(timelines, images, clocks)))


def _clocks_from_timecodes(timelines: Mapping[str, Timeline]) -> dict[str, Clock]:
    starts = {name: line.timecode_s for name, line in timelines.items()}
    if without := [name for name, start in starts.items() if start is None]:
        raise InputError(f"camera {without[0]!r}: its video states no timecode; synchronise by index, time or flash")
    first = next(iter(starts.values())) or 0.0
    return {name: Clock((start or 0.0) - first) for name, start in starts.items()}


def _clocks_from_flashes(timelines: Mapping[str, Timeline]) -> dict[str, Clock]:
    flashes = {name: flash_times(line) for name, line in timelines.items()}
    if dark := [name for name, times in flashes.items() if not len(times)]:
        raise InputError(f"camera {dark[0]!r} saw no flash: switch a lamp on before all cameras, or give their times")
    first, *others = timelines
    return {first: Clock(rms_s=0.0)} | {
        name: _clock(flashes[name], flashes[first], _longer_s(timelines[name], timelines[first]), name, first)
        for name in others
    }


def _clocks_from_sounds(timelines: Mapping[str, Timeline]) -> dict[str, Clock]:
    heard: dict[str, FloatArray] = {}
    for name, line in timelines.items():
        if line.onsets is None or not line.onsets.any():
            raise InputError(f"camera {name!r} recorded no sound: synchronise by flash, timecode, time or index")
        heard[name] = line.onsets
    first, *others = timelines
    clocks = {first: Clock(rms_s=0.0)}
    for name in others:
        found = sound_shifts(heard[name], heard[first])
        if found is None:
            raise InputError(f"what {name!r} and {first!r} heard does not fit together: clap once, near all cameras")
        own, shifts = found
        slope, middle = np.polyfit(own - own.mean(), shifts, 1) if len(own) > 1 else (0.0, float(shifts.mean()))
        rms = float(np.sqrt(((shifts - middle - slope * (own - own.mean())) ** 2).mean()))
        clocks[name] = Clock(float(middle - slope * own.mean()), float(slope * 1e6), rms)
    return clocks


def _longer_s(line: Timeline, other: Timeline) -> float:
    """The time of an image of the slower camera."""
    return max(line.period_s, other.period_s)


def _clock(own: FloatArray, theirs: FloatArray, period_s: float, name: str, first: str) -> Clock:
    """The clock that matches most flashes to the first camera's; not every flash must be seen by both."""
    best: tuple[int, float, Clock] | None = None
    for shift in np.unique((theirs[:, None] - own).ravel()):
        gap = np.abs(own[:, None] + shift - theirs)
        near = gap.argmin(1)
        met = gap.min(1) < _NEAR_S
        a, b = own[met], theirs[near[met]]
        slope, middle = np.polyfit(a - a.mean(), b, 1) if len(np.unique(b)) > 1 else (1.0, float(b.mean()))
        if abs(slope - 1) * np.ptp(a) < _KNOWN_SHARE * period_s:
            slope = 1.0  # two flashes are not known well enough to tell a drift
        left = b - middle - slope * (a - a.mean())
        rms = float(np.sqrt((left**2).mean()))
        clock = Clock(float(middle - slope * a.mean()), float((slope - 1) * 1e6), rms)
        if best is None or (met.sum(), -rms) > (best[0], -best[1]):
            best = int(met.sum()), rms, clock
    assert best is not None
    if best[0] < min(len(own), len(theirs)) / 2:
        raise InputError(f"the flashes that {name!r} and {first!r} saw do not fit together: give each its times")
    return best[2]


def _matched(
    timelines: Mapping[str, Timeline], clocks: Mapping[str, Clock]
) -> tuple[IndexArray, FloatArray, FloatArray]:
    """(F, C) nearest images to the slowest camera's, within half a period, and how late; frame sets of two or more.

    Also (F,) their times.
    """
    slowest = max(timelines, key=lambda name: np.nan_to_num(timelines[name].period_s))
    times = _by_first(timelines[slowest], clocks[slowest])
    images = np.full((len(times), len(timelines)), -1, np.intp)
    off_s = np.full(images.shape, np.nan)
    for column, (name, line) in enumerate(timelines.items()):
        own = _by_first(line, clocks[name])
        after = np.clip(np.searchsorted(own, times), 0, len(own) - 1)
        before = np.maximum(after - 1, 0)
        nearest = np.where(np.abs(own[before] - times) <= np.abs(own[after] - times), before, after)
        gap = own[nearest] - times
        near = np.abs(gap) <= np.nan_to_num(timelines[slowest].period_s, nan=np.inf) / 2 + 1e-9
        order = np.lexsort((np.abs(gap), nearest))
        _, first = np.unique(nearest[order], return_index=True)
        near &= np.isin(np.arange(len(times)), order[first])  # of two frame sets near one image the nearer one has it
        images[near, column], off_s[near, column] = line.index[nearest[near]], gap[near]
    shared = (images >= 0).sum(1) >= min(2, len(timelines))
    return images[shared], off_s[shared], times[shared]


def _by_first(line: Timeline, clock: Clock) -> FloatArray:
    """A camera's times by the first one's clock."""
    return line.time_s * (1 + clock.drift_ppm * 1e-6) + clock.offset_s


def _warnings(timelines: Mapping[str, Timeline], images: IndexArray, clocks: Mapping[str, Clock]) -> list[str]:
    """What is wrong with each camera, one line each."""
    found: list[str] = []
    lengths = {name: len(line.index) for name, line in timelines.items()}
    if len(set(lengths.values())) > 1:
        found.append("cameras of unequal length: " + ", ".join(f"{name} {count}" for name, count in lengths.items()))
    periods = {name: line.period_s for name, line in timelines.items() if np.isfinite(line.period_s)}
    if periods and max(periods.values()) > 1.02 * min(periods.values()):
        rates = ", ".join(f"{name} {1 / period:.2f}" for name, period in periods.items())
        found.append(f"cameras of different speed, images per second: {rates}")
    for column, (name, line) in enumerate(timelines.items()):
        if line.duplicates:
            which = counted(len(line.duplicates), "image repeats", "images repeat")
            found.append(f"{name}: {which} the previous one, first {line.duplicates[0]}")
        for after, count in line.dropped[:3]:
            found.append(f"{name}: {counted(count, 'image is', 'images are')} missing after {after}")
        found += [f"{name}: {problem}" for problem in line.problems[:3]]
        if without := int((images[:, column] < 0).sum()):
            found.append(f"{name}: no image of {without} of {len(images)} frame sets")
        if abs(clocks[name].drift_ppm) > _DRIFTS_PPM:
            found.append(f"{name}: its clock drifts by {clocks[name].drift_ppm:.0f} parts in a million")
    return found
