"""Which pictures of several cameras are of one instant: by time, by number or by flashes; what was dropped or doubled.

A camera's clock runs as `time = (1 + drift) own time + offset`, fitted by least squares to what both cameras saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from sonjit.errors import InputError
from sonjit.multiview.timeline import flash_times

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sonjit.multiview.timeline import Timeline

SyncMethod = Literal["index", "time", "timecode", "flash"]

_NEAR_S = 0.1
"""Flashes of two cameras this near are one."""
_DRIFTS_PPM = 200


@dataclass(frozen=True)
class Clock:
    """How a camera's clock stands to the first camera's.

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
    """Which pictures belong together.

    Attributes:
        names: of the cameras.
        pictures: (F, C) number of each camera's picture of an instant; -1 where it has none.
        off_s: (F, C) by how much the picture is later than the instant; NaN where there is none or no clock.
        clocks: by camera.
        warnings: what was found wrong, one line each.
    """

    names: tuple[str, ...]
    pictures: NDArray[np.intp]
    off_s: NDArray[np.float64]
    clocks: Mapping[str, Clock]
    warnings: tuple[str, ...]

    def frame_of(self, name: str, picture: int) -> int | None:
        """The instant of a camera's picture; None where it belongs to none."""
        found = np.flatnonzero(self.pictures[:, self.names.index(name)] == picture)
        return int(found[0]) if len(found) else None


def synchronise(timelines: Mapping[str, Timeline], method: SyncMethod) -> Sync:
    """Put pictures of one instant together.

    Args:
        timelines: by camera; the first one's clock counts.
        method: by the pictures' numbers; by their times, taken as of one clock; by the timecode at which each video
            starts; or by flashes of light, which every camera must see once, and twice for drift to be told.

    Raises:
        InputError: no times or timecode, a camera saw no flash, or flashes that do not fit together.
    """
    names = tuple(timelines)
    if method == "index":
        clocks = dict.fromkeys(names, Clock())
        numbers = np.unique(np.concatenate([line.index for line in timelines.values()]))
        pictures = np.stack([np.where(np.isin(numbers, line.index), numbers, -1) for line in timelines.values()], 1)
        off_s = np.full(pictures.shape, np.nan)
    else:
        blind = [name for name, line in timelines.items() if not np.isfinite(line.time_s).all()]
        if blind:
            raise InputError(f"camera {blind[0]!r} has pictures without times: synchronise by index")
        match method:
            case "flash":
                clocks = _clocks_from_flashes(timelines)
            case "timecode":
                clocks = _clocks_from_timecodes(timelines)
            case _:
                clocks = dict.fromkeys(names, Clock())
        pictures, off_s = _matched(timelines, clocks)
    return Sync(names, pictures, off_s, clocks, tuple(_warnings(timelines, pictures, clocks)))


def _clocks_from_timecodes(timelines: Mapping[str, Timeline]) -> dict[str, Clock]:
    starts = {name: line.timecode_s for name, line in timelines.items()}
    without = [name for name, start in starts.items() if start is None]
    if without:
        raise InputError(f"camera {without[0]!r}: its video states no timecode; synchronise by index, time or flash")
    first = next(iter(starts.values())) or 0.0
    return {name: Clock((start or 0.0) - first) for name, start in starts.items()}


def _clocks_from_flashes(timelines: Mapping[str, Timeline]) -> dict[str, Clock]:
    flashes = {name: flash_times(line) for name, line in timelines.items()}
    dark = [name for name, times in flashes.items() if not len(times)]
    if dark:
        raise InputError(f"camera {dark[0]!r} saw no flash: switch a lamp on before all cameras, or give their times")
    first, *others = timelines
    clocks = {first: Clock(rms_s=0.0)}
    for name in others:
        clocks[name] = _clock(flashes[name], flashes[first], name, first)
    return clocks


def _clock(own: NDArray[np.float64], theirs: NDArray[np.float64], name: str, first: str) -> Clock:
    """The clock that puts most flashes upon the first camera's; the flashes need not all be seen by both."""
    best: tuple[int, float, Clock] | None = None
    for shift in np.unique((theirs[:, None] - own).ravel()):
        gap = np.abs(own[:, None] + shift - theirs)
        near = gap.argmin(1)
        met = gap.min(1) < _NEAR_S
        a, b = own[met], theirs[near[met]]
        slope, middle = np.polyfit(a - a.mean(), b, 1) if len(np.unique(b)) > 1 else (1.0, float(b.mean()))
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
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """(F, C) pictures nearest to the instants of the slowest camera, within half a period; instants of two or more."""
    slowest = max(timelines, key=lambda name: np.nan_to_num(timelines[name].period_s))
    instants = _by_first(timelines[slowest], clocks[slowest])
    pictures = np.full((len(instants), len(timelines)), -1, np.intp)
    off_s = np.full(pictures.shape, np.nan)
    for column, (name, line) in enumerate(timelines.items()):
        own = _by_first(line, clocks[name])
        after = np.clip(np.searchsorted(own, instants), 0, len(own) - 1)
        before = np.maximum(after - 1, 0)
        nearest = np.where(np.abs(own[before] - instants) <= np.abs(own[after] - instants), before, after)
        gap = own[nearest] - instants
        near = np.abs(gap) <= np.nan_to_num(timelines[slowest].period_s, nan=np.inf) / 2 + 1e-9
        pictures[near, column], off_s[near, column] = line.index[nearest[near]], gap[near]
    shared = (pictures >= 0).sum(1) >= min(2, len(timelines))
    return pictures[shared], off_s[shared]


def _by_first(line: Timeline, clock: Clock) -> NDArray[np.float64]:
    """A camera's times by the first one's clock."""
    return line.time_s * (1 + clock.drift_ppm * 1e-6) + clock.offset_s


def _warnings(timelines: Mapping[str, Timeline], pictures: NDArray[np.intp], clocks: Mapping[str, Clock]) -> list[str]:
    """What is wrong with each camera, one line each."""
    found: list[str] = []
    lengths = {name: len(line.index) for name, line in timelines.items()}
    if len(set(lengths.values())) > 1:
        found.append("cameras of unequal length: " + ", ".join(f"{name} {count}" for name, count in lengths.items()))
    periods = {name: line.period_s for name, line in timelines.items() if np.isfinite(line.period_s)}
    if periods and max(periods.values()) > 1.02 * min(periods.values()):
        rates = ", ".join(f"{name} {1 / period:.2f}" for name, period in periods.items())
        found.append(f"cameras of different speed, pictures per second: {rates}")
    for column, (name, line) in enumerate(timelines.items()):
        if line.duplicates:
            found.append(f"{name}: {len(line.duplicates)} pictures repeat the one before, first {line.duplicates[0]}")
        for after, count in line.dropped[:3]:
            found.append(f"{name}: {count} pictures are missing after {after}")
        found += [f"{name}: {problem}" for problem in line.problems[:3]]
        without = int((pictures[:, column] < 0).sum())
        if without:
            found.append(f"{name}: no picture of {without} of {len(pictures)} instants")
        if abs(clocks[name].drift_ppm) > _DRIFTS_PPM:
            found.append(f"{name}: its clock drifts by {clocks[name].drift_ppm:.0f} parts in a million")
    return found
