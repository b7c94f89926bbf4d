"""Fit the cameras' clocks to each other and match their images into frame sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sonjit._util.arrays import FloatArray, IndexArray
from sonjit._util.errors import InputError
from sonjit._util.text import pluralize
from sonjit.studio.annotation.sound import sound_shifts
from sonjit.studio.annotation.timeline import Timeline, flash_times
from sonjit.studio.cameras.frame_sets import CameraFrames

SyncMethod = Literal["index", "time", "timecode", "flash", "sound"]
_FLASH_TOLERANCE_S = 0.1
"""Largest time between two cameras' observations of one flash."""
_MIN_DRIFT_RATIO = 2 / 3
"""Least shift by the drift, in frame periods, for the drift to be estimated: twice a flash's error of a third."""
_WARN_DRIFT_PPM = 200
"""Drift above which a warning is issued."""


@dataclass(frozen=True)
class Clock:
    """A camera's clock relative to the first camera's.

    Attributes:
        offset_s: Seconds to add to its times.
        drift_ppm: Parts per million by which its seconds are too short.
        rms_s: Error of common events after the fit, NaN without a fit.
    """

    offset_s: float = 0.0
    drift_ppm: float = 0.0
    rms_s: float = float("nan")


@dataclass(frozen=True, eq=False)
class Sync:
    """The images of each frame set.

    Attributes:
        names: Names of the cameras.
        images: (F, C) number of each camera's image of a frame set, -1 for none.
        delay_s: (F, C) time of the image after its frame set, NaN without image or clock.
        clocks: Clock by camera.
        times_s: (F,) times of the frame sets by the first camera's clock. (0,) if they were matched by numbers.
        warnings: Problems, one line each.
    """

    names: tuple[str, ...]
    images: IndexArray
    delay_s: FloatArray
    clocks: Mapping[str, Clock]
    times_s: FloatArray
    warnings: tuple[str, ...]

    def cameras(self) -> dict[str, CameraFrames]:
        """Return the frame sets of each camera's images, and its clock."""
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
        """Return the frame set of a camera's image, or None."""
        found = np.flatnonzero(self.images[:, self.names.index(name)] == image)
        return int(found[0]) if len(found) else None


def synchronise(timelines: Mapping[str, Timeline], method: SyncMethod) -> Sync:
    """Match the images of several cameras into frame sets.

    Args:
        timelines: Timelines by camera. The first camera's clock is the reference.
        method: index (the images' numbers), time (one common clock), timecode (start of each video), flash (light that
            every camera sees once, or twice for its drift), or sound (such as a clap).

    Raises:
        InputError: Times, timecodes, sound or flashes are missing, or do not fit together.
    """
    names = tuple(timelines)
    if method == "index":
        clocks = dict.fromkeys(names, Clock())
        numbers = np.unique(np.concatenate([line.index for line in timelines.values()]))
        images = np.stack([np.where(np.isin(numbers, line.index), numbers, -1) for line in timelines.values()], 1)
        delay_s, times = np.full(images.shape, np.nan), np.zeros(0)
    else:
        if without_times := [name for name, line in timelines.items() if not np.isfinite(line.time_s).all()]:
            raise InputError(f"camera {without_times[0]!r} has images without times: synchronise by index")
        clock_functions = {
            "flash": _clocks_from_flashes,
            "timecode": _clocks_from_timecodes,
            "sound": _clocks_from_sounds,
        }
        clocks = clock_functions[method](timelines) if method in clock_functions else dict.fromkeys(names, Clock())
        images, delay_s, times = _match_images(timelines, clocks)
    return Sync(
        names=names,
        images=images,
        delay_s=delay_s,
        clocks=clocks,
        times_s=times,
        warnings=tuple(_warnings(timelines, images, clocks)),
    )


def _clocks_from_timecodes(timelines: Mapping[str, Timeline]) -> dict[str, Clock]:
    """Return clocks by the timecodes of the videos."""
    starts = {name: line.timecode_s for name, line in timelines.items()}
    if without := [name for name, start in starts.items() if start is None]:
        raise InputError(f"camera {without[0]!r}: its video states no timecode; synchronise by index, time or flash")
    first = next(iter(starts.values())) or 0.0
    return {name: Clock((start or 0.0) - first) for name, start in starts.items()}


def _clocks_from_flashes(timelines: Mapping[str, Timeline]) -> dict[str, Clock]:
    """Return clocks by flashes of light."""
    flashes = {name: flash_times(line) for name, line in timelines.items()}
    if without_flash := [name for name, times in flashes.items() if not len(times)]:
        raise InputError(
            f"camera {without_flash[0]!r} saw no flash: switch a lamp on before all cameras, or give their times"
        )
    first, *others = timelines
    return {first: Clock(rms_s=0.0)} | {
        name: _fit_clock(
            flashes[name], flashes[first], max(timelines[name].period_s, timelines[first].period_s), name, first
        )
        for name in others
    }


def _clocks_from_sounds(timelines: Mapping[str, Timeline]) -> dict[str, Clock]:
    """Return clocks by sounds."""
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


def _fit_clock(own: FloatArray, theirs: FloatArray, period_s: float, name: str, first: str) -> Clock:
    """Return the clock that matches most flashes to the first camera's. Some flashes may be seen by one only."""
    best: tuple[int, float, Clock] | None = None
    for shift in np.unique((theirs[:, None] - own).ravel()):
        distance = np.abs(own[:, None] + shift - theirs)
        nearest = distance.argmin(1)
        is_match = distance.min(1) < _FLASH_TOLERANCE_S
        a, b = own[is_match], theirs[nearest[is_match]]
        slope, middle = np.polyfit(a - a.mean(), b, 1) if len(np.unique(b)) > 1 else (1.0, float(b.mean()))
        if abs(slope - 1) * np.ptp(a) < _MIN_DRIFT_RATIO * period_s:
            slope = 1.0  # the flashes are too inaccurate to estimate a drift
        residual = b - middle - slope * (a - a.mean())
        rms = float(np.sqrt((residual**2).mean()))
        clock = Clock(float(middle - slope * a.mean()), float((slope - 1) * 1e6), rms)
        if best is None or (is_match.sum(), -rms) > (best[0], -best[1]):
            best = int(is_match.sum()), rms, clock
    assert best is not None
    if best[0] < min(len(own), len(theirs)) / 2:
        raise InputError(f"the flashes that {name!r} and {first!r} saw do not fit together: give each its times")
    return best[2]


def _match_images(
    timelines: Mapping[str, Timeline], clocks: Mapping[str, Clock]
) -> tuple[IndexArray, FloatArray, FloatArray]:
    """Match images to those of the slowest camera, within half a period.

    Returns:
        (F, C) numbers of images and (F, C) delays of frame sets with two or more images, and (F,) times.
    """
    slowest = max(timelines, key=lambda name: np.nan_to_num(timelines[name].period_s))
    times = _first_camera_times(timelines[slowest], clocks[slowest])
    images = np.full((len(times), len(timelines)), -1, np.intp)
    delay_s = np.full(images.shape, np.nan)
    for column, (name, line) in enumerate(timelines.items()):
        camera_times = _first_camera_times(line, clocks[name])
        after = np.clip(np.searchsorted(camera_times, times), 0, len(camera_times) - 1)
        before = np.maximum(after - 1, 0)
        nearest = np.where(np.abs(camera_times[before] - times) <= np.abs(camera_times[after] - times), before, after)
        delay = camera_times[nearest] - times
        is_match = np.abs(delay) <= np.nan_to_num(timelines[slowest].period_s, nan=np.inf) / 2 + 1e-9
        order = np.lexsort((np.abs(delay), nearest))
        _, first = np.unique(nearest[order], return_index=True)
        is_match &= np.isin(np.arange(len(times)), order[first])  # an image belongs to the nearer of two frame sets
        images[is_match, column], delay_s[is_match, column] = line.index[nearest[is_match]], delay[is_match]
    shared = (images >= 0).sum(1) >= min(2, len(timelines))
    return images[shared], delay_s[shared], times[shared]


def _first_camera_times(line: Timeline, clock: Clock) -> FloatArray:
    """Return a camera's times by the first camera's clock."""
    return line.time_s * (1 + clock.drift_ppm * 1e-6) + clock.offset_s


def _warnings(timelines: Mapping[str, Timeline], images: IndexArray, clocks: Mapping[str, Clock]) -> list[str]:
    """Return the problems of each camera, one line each."""
    problems: list[str] = []
    lengths = {name: len(line.index) for name, line in timelines.items()}
    if len(set(lengths.values())) > 1:
        problems.append("cameras of unequal length: " + ", ".join(f"{name} {count}" for name, count in lengths.items()))
    periods = {name: line.period_s for name, line in timelines.items() if np.isfinite(line.period_s)}
    if periods and max(periods.values()) > 1.02 * min(periods.values()):
        rates = ", ".join(f"{name} {1 / period:.2f}" for name, period in periods.items())
        problems.append(f"cameras of different speed, images per second: {rates}")
    for column, (name, line) in enumerate(timelines.items()):
        if line.duplicates:
            repeats = pluralize(len(line.duplicates), "image repeats", "images repeat")
            problems.append(f"{name}: {repeats} the previous one, first {line.duplicates[0]}")
        for after, count in line.dropped[:3]:
            problems.append(f"{name}: {pluralize(count, 'image is', 'images are')} missing after {after}")
        problems += [f"{name}: {problem}" for problem in line.problems[:3]]
        if without := int((images[:, column] < 0).sum()):
            problems.append(f"{name}: no image of {without} of {len(images)} frame sets")
        if abs(clocks[name].drift_ppm) > _WARN_DRIFT_PPM:
            problems.append(f"{name}: its clock drifts by {clocks[name].drift_ppm:.0f} parts in a million")
    return problems
