"""Match the images of several cameras into frame sets, by times, timecodes, flashes of light or sounds.

For sounds, such as a clap, the rise of the level in each millisecond is compared, which distance and type of microphone
hardly affect. Sound takes 3 ms per metre: a clap in the centre of the cameras reaches all at nearly the same time.
"""

import csv
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sonjit._util import FloatArray, IndexArray, InputError, pluralize, pools
from sonjit.media import Source, open_source
from sonjit.media.sources.images import read_bytes
from sonjit.media.sources.video import open_container, video_stream
from sonjit_studio.views import CameraFrames, frame_numbers, match_camera

STEP_S = 0.001  # time step of onsets in seconds
_SAMPLE_RATE = 16_000
_LEVEL_VALUES, _PREVIOUS_VALUES = 5, 20  # numbers of values averaged for the current level and for the previous one
_SILENCE_POWER = 1e-8  # power relative to full scale below which sound is silence
_MIN_SEPARATION_S, _CLEAR_RATIO = 0.03, 1.2  # distance of the next best shift, and how much better the best one fits
_PART_S, _MIN_PARTS, _MAX_DRIFT_S = 10.0, 4, 0.1  # parts for the drift, their number, and deviation of their shifts
_MIN_PART_S = 2.0  # minimum length of the last part, because shorter noise seems to fit
_LATE_RATIO = 1.5  # step in periods from which images are missing
_MAX_STEP_S = 5.0  # time between images above which a file of times is probably not in seconds
_PIXEL_STRIDE = 4  # interval between compared pixels, across and down
_REPEAT_LEVELS, _REPEAT_RATIO = 0.02, 0.1
"""An image repeats the previous one if their mean difference is below either limit.

The first is in grey levels, below a camera's noise. The second is relative to the differences of neighbouring images,
for repeats that were compressed again."""
_REPEAT_WINDOW = 15  # number of neighbouring images for this comparison
_TIMECODE = re.compile(r"(\d+):(\d+):(\d+)([:;.])(\d+)")
_RATE_TOLERANCE: Final = 0.005  # largest deviation of a measured rate from the one that a camera states
_DROPPED_RATE: Final = 30  # nominal rate of which drop-frame timecodes leave out two labels a minute
SyncMethod = Literal["index", "time", "timecode", "flash", "sound"]
_FLASH_TOLERANCE_S = 0.1  # largest time between two cameras' observations of one flash
_MIN_DRIFT_RATIO = 2 / 3  # least shift by the drift in frame periods: twice a flash's error of a third
_WARN_DRIFT_PPM = 200  # drift above which a warning is issued


def read_onsets(path: Path) -> FloatArray | None:
    """Return the onsets (n,) of a video's sound in squared decibels, one per `STEP_S` from its first image, or None."""
    from av import AudioResampler
    from av.error import FFmpegError

    with open_container(path, str(path)) as container:
        stream = next(iter(container.streams.audio), None)
        images = video_stream(container)
        if stream is None or images is None:
            return None
        start_s = float((images.start_time or 0) * (images.time_base or 0))
        resampler = AudioResampler("flt", "mono", _SAMPLE_RATE)
        chunks: list[tuple[int, FloatArray]] = []
        try:
            for frame in container.decode(stream):
                for part in resampler.resample(frame):
                    start = float((part.pts or 0) * (part.time_base or 0)) - start_s
                    chunks.append((round(start * _SAMPLE_RATE), np.asarray(part.to_ndarray(), np.float64).ravel()))
        except (FFmpegError, OSError) as error:
            raise InputError(f"{path}: its sound cannot be decoded: {error.strerror or error}") from None
    samples = np.zeros(max((first + len(values) for first, values in chunks), default=0))
    for first, values in chunks:
        samples[max(first, 0) : max(first + len(values), 0)] = values[max(-first, 0) :]
    return onsets(samples)


def onsets(samples: FloatArray) -> FloatArray:
    """Return the squared rise (n,) of the level in decibels per millisecond of a sound (16 n,) at 16 kHz.

    >>> clap = np.concatenate([np.zeros(8000), np.ones(160), np.zeros(8000)])
    >>> int(onsets(clap).argmax())
    500
    """
    samples_per_step = round(_SAMPLE_RATE * STEP_S)
    power = (samples[: len(samples) // samples_per_step * samples_per_step].reshape(-1, samples_per_step) ** 2).mean(1)
    if len(power) < _LEVEL_VALUES + _PREVIOUS_VALUES:
        return np.zeros(len(power))
    level = 10 * np.log10(power + _SILENCE_POWER)
    sums = np.concatenate([[0.0], np.cumsum(level)])
    now = (sums[_LEVEL_VALUES:] - sums[:-_LEVEL_VALUES]) / _LEVEL_VALUES  # mean of the current and following values
    before = (sums[_PREVIOUS_VALUES:] - sums[:-_PREVIOUS_VALUES]) / _PREVIOUS_VALUES
    rise = np.zeros(len(level))
    rise[_PREVIOUS_VALUES : len(now)] = now[_PREVIOUS_VALUES:] - before[: len(now) - _PREVIOUS_VALUES]
    return np.maximum(rise, 0) ** 2


def sound_shifts(moved: FloatArray, reference: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """Return times (k,) and shifts (k,) from one sound's onsets to another's in seconds, None if none fits clearly.

    They are of clear parts, for the drift, or (1,) of the total recording if these are too few.
    """
    total_shift = _best_shift(moved, reference)
    if total_shift is None:
        return None
    matches: list[tuple[int, int]] = []
    size, min_size, drift = (round(seconds / STEP_S) for seconds in (_PART_S, _MIN_PART_S, _MAX_DRIFT_S))
    end = min(len(moved), len(reference) - total_shift - drift)
    for first in range(max(0, drift - total_shift), end - min_size, size):
        low = first + total_shift - drift
        part = moved[first : min(first + size, end)]
        shift = _best_shift(part, reference[low : low + len(part) + 2 * drift])
        if shift is not None and 0 <= shift <= 2 * drift:
            matches.append((first + int(part.argmax()), low - first + shift))
    if len(matches) < _MIN_PARTS:
        matches = [(int(moved.argmax()), total_shift)]
    times, shifts = np.array(matches).T * STEP_S
    return times, shifts


def _best_shift(moved: FloatArray, reference: FloatArray) -> int | None:
    """Return the number of values by which to move `moved` to fit `reference` best, or None if it is ambiguous."""
    size = 1 << (len(moved) + len(reference)).bit_length()
    fit = np.fft.irfft(np.fft.rfft(reference, size) * np.conj(np.fft.rfft(moved, size)), size)
    fit = np.concatenate([fit[-3:], fit, fit[:3]])
    fit = np.convolve(fit, np.ones(7) / 7, "valid")  # smooth, because microphones differ
    best = int(fit.argmax())
    separation = round(_MIN_SEPARATION_S / STEP_S)
    others = np.delete(np.roll(fit, separation - best), np.s_[: 2 * separation + 1])
    if not fit[best] > _CLEAR_RATIO * max(float(others.max()), 0.0) or fit[best] <= 0:
        return None
    return best - size if best >= len(reference) else best


class Timecode(NamedTuple):
    """SMPTE timecode of a video's first image as seconds since midnight, where a day of labels ends.

    Labels count frames, so that an hour of labels at 29.97 frames per second lasts 3603.6 s. Drop-frame labels, with
    ; before the frames, leave out two labels a minute, except in each tenth one. Source: SMPTE ST 12-1.
    """

    start_s: float
    day_s: float

    @classmethod
    def of(cls, label: str, fps: float) -> Self | None:
        """Read a label for a rate near a whole number or its 1000/1001. Return None for another text.

        >>> Timecode.of("01:00:00:00", 29.97).start_s, Timecode.of("01:00:00;00", 29.97).start_s
        (3603.6, 3599.9964)
        """
        match = _TIMECODE.match(label)
        if not match or not fps > 0:
            return None
        hours, minutes, seconds, frames = (int(match[group]) for group in (1, 2, 3, 5))
        nominal = max(1, round(fps))
        rate = min(nominal, nominal * 1000 / 1001, key=lambda candidate: abs(candidate - fps))
        if abs(rate - fps) > _RATE_TOLERANCE * fps:  # labels of no standard
            nominal = rate = fps
        drops = 2 * nominal // _DROPPED_RATE if match[4] in ";." and nominal % _DROPPED_RATE == 0 else 0
        past = 60 * hours + minutes
        count = nominal * (60 * past + seconds) + frames - drops * (past - past // 10)
        day = nominal * 86_400 - drops * (1440 - 144)
        return cls(round(count / rate, 9), day / rate)


@dataclass(frozen=True, eq=False)
class Timeline:
    """The times and brightness of one camera's images."""

    index: IndexArray  # (n,) number of each image in its source. A gap is an image that could not be read.
    time_s: FloatArray  # (n,) times by the source's clock or a file of time stamps, NaN for stills without
    brightness: FloatArray  # (n,) mean grey levels
    timecode: Timecode | None = None  # label of the first image of a video
    duplicates: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()
    # onsets of the video's sound, see `read_onsets`. None if it was not requested or does not exist.
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
    progress: pools.Progress = pools.Progress(),
    *,
    sound: bool = False,
) -> Timeline:
    """Read a source once for its times, brightness, repeated images, and perhaps a video's sound.

    `stamps` (N,) are times in seconds, see `read_stamps`; by default the source's own.
    """
    index: list[int] = []
    rows: list[tuple[float, float, float]] = []  # time, brightness, difference from the previous image
    last: NDArray[np.int16] | None = None
    with open_source(Path(named)) as source:
        numbers = frame_numbers(source.files) if source.kind == "folder" else None
        timecode = _timecode(source)
        for image in source:
            small = image.rgb[::_PIXEL_STRIDE, ::_PIXEL_STRIDE].astype(np.int16)
            step = np.inf if last is None or last.shape != small.shape else float(np.abs(small - last).mean())
            last = small
            index.append(numbers[image.index] if numbers else image.index)
            rows.append((np.nan if image.time is None else image.time, float(small.mean()), step))
            progress.advance()
        problems = tuple(source.problems)
        heard = read_onsets(Path(source.files[0])) if sound and source.kind == "video" and source.files else None
    if not index:
        raise InputError(f"{named} contains no readable image")
    if stamps is not None and (len(stamps) != len(index) or not (np.diff(stamps) > 0).all()):
        raise InputError(f"{named}: {len(stamps)} times for {len(index)} images; they must be as many, and rise")
    times, brightness, steps = np.array(rows).T
    times = times if stamps is None else stamps
    if stamps is not None and len(stamps) > 1 and (step_s := float(np.median(np.diff(stamps)))) > _MAX_STEP_S:
        problems += (f"its times are {step_s:g} s apart; must be seconds, not milliseconds or nanoseconds",)
    repeats = tuple(np.array(index)[_is_repeated(steps)].tolist())
    return Timeline(np.array(index), times, brightness, timecode, repeats, problems, heard)


def _is_repeated(steps: FloatArray) -> NDArray[np.bool_]:
    """Return which images (n,) repeat the previous one, given their differences, infinity where unknown."""
    half = _REPEAT_WINDOW // 2
    around = sliding_window_view(np.pad(steps, half, mode="reflect" if len(steps) > half else "edge"), 2 * half + 1)
    return steps < np.maximum(_REPEAT_LEVELS, _REPEAT_RATIO * np.median(around, axis=1))


def read_stamps(path: Path, view: str) -> FloatArray:
    """Read a camera's times in seconds from VIEW.txt in a folder, one per line, or caliscope's `timestamps.csv`.

    Its columns are cam_id and frame_time. Camera 3 is cam_3 or 3, or a longer name, see `match_camera`.
    """
    if path.suffix.lower() != ".csv":
        path /= f"{match_camera(view, [file.stem for file in path.glob('*.txt')]) or view}.txt"
        words = read_bytes(path).decode(errors="replace").split()
    else:
        try:
            rows = list(csv.DictReader(read_bytes(path).decode(errors="replace").splitlines()))
        except csv.Error as error:
            raise InputError(f"{path}: a table of times is wanted: {error}") from None
        cameras = {f"cam_{row.get('cam_id')}" for row in rows}
        camera_names = (view, (match_camera(view, cameras) or view).removeprefix("cam_"))
        words = [row.get("frame_time") or "" for row in rows if row.get("cam_id") in camera_names]
    try:
        stamps = np.array([float(word) for word in words])
    except ValueError:
        raise InputError(f"{path}: a time in seconds of each image is wanted") from None
    if not len(stamps):
        raise InputError(f"{path}: no times of camera {view!r}; a table has the columns cam_id and frame_time")
    return stamps


def _timecode(source: Source) -> Timecode | None:
    """Return a video's timecode, or None."""
    if source.kind != "video" or not source.files:
        return None
    import av

    with av.open(str(source.files[0])) as container:
        metadata_records = [dict(container.metadata), *(dict(stream.metadata) for stream in container.streams)]
        rates = [video.guessed_rate or video.average_rate for video in container.streams.video[:1]]
    fps = next((float(rate) for rate in rates if rate), source.fps or 0.0)
    codes = (Timecode.of(metadata.get("timecode", ""), fps) for metadata in metadata_records)
    return next((code for code in codes if code is not None), None)


def flash_times(line: Timeline) -> FloatArray:
    """Return the times (n,) of sudden rises in brightness, interpolated to half of the rise.

    An image of intermediate brightness gives the fraction of the period; without one, the error is half a period.
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


@dataclass(frozen=True)
class Clock:
    """A camera's clock relative to the first camera's."""

    offset_s: float = 0.0
    drift_ppm: float = 0.0  # parts per million by which its seconds are too short
    rms_s: float = float("nan")  # error of common events after the fit, NaN without a fit
    has_drift: bool = True  # False if the common events do not suffice for the drift, which is 0 then


@dataclass(frozen=True, eq=False)
class Sync:
    """The images of each frame set."""

    names: tuple[str, ...]
    images: IndexArray  # (F, C) number of each camera's image of a frame set, -1 for none
    clocks: Mapping[str, Clock]
    # (F,) times of the frame sets by the first camera's clock. (0,) if they were matched by numbers.
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
        frame_sets = np.flatnonzero(self.images[:, self.names.index(name)] == image)
        return int(frame_sets[0]) if len(frame_sets) else None


def synchronise(timelines: Mapping[str, Timeline], method: SyncMethod) -> Sync:
    """Match images into frame sets by index (their numbers), time (one clock) or timecode (start of each video).

    Others are flash (light in all cameras, twice for a drift) and sound (such as a clap).
    """
    names = tuple(timelines)
    if method == "index":
        clocks = dict.fromkeys(names, Clock())
        numbers = np.unique(np.concatenate([line.index for line in timelines.values()]))
        images = np.stack([np.where(np.isin(numbers, line.index), numbers, -1) for line in timelines.values()], 1)
        times = np.zeros(0)
    else:
        if without_times := [name for name, line in timelines.items() if not np.isfinite(line.time_s).all()]:
            raise InputError(f"camera {without_times[0]!r} has images without times: synchronise by index")
        clock_functions = {
            "flash": _clocks_from_flashes,
            "timecode": _clocks_from_timecodes,
            "sound": _clocks_from_sounds,
        }
        clocks = clock_functions[method](timelines) if method in clock_functions else dict.fromkeys(names, Clock())
        images, times = _match_images(timelines, clocks)
    if len(names) > 1 and not ((images >= 0).sum(1) > 1).any():
        raise InputError(f"no frame set has images of two cameras: {_reason(timelines, clocks, method)}")
    return Sync(names, images, clocks, times, tuple(_warnings(timelines, images, clocks)))


def _reason(timelines: Mapping[str, Timeline], clocks: Mapping[str, Clock], method: SyncMethod) -> str:
    """Return why recordings have no common frame set."""
    if method == "index":
        return "their images have no number in common. Synchronise by time, timecode, flash or sound"
    spans: list[str] = []
    for name, line in timelines.items():
        first, last = (line.time_s[[0, -1]] + clocks[name].offset_s).tolist()
        spans.append(f"{name} lasts from {first:.3f} to {last:.3f} s")
    return f"by {method}, {', '.join(spans)}"


def _clocks_from_timecodes(timelines: Mapping[str, Timeline]) -> dict[str, Clock]:
    codes = {name: line.timecode for name, line in timelines.items() if line.timecode is not None}
    if without := [name for name in timelines if name not in codes]:
        raise InputError(f"camera {without[0]!r}: its video states no timecode; synchronise by index, time or flash")
    first = next(iter(codes.values()))
    offsets = {name: code.start_s - first.start_s for name, code in codes.items()}
    for name, code in codes.items():  # recordings around midnight: the labels begin again
        half_s = min(code.day_s, first.day_s) / 2
        if abs(offsets[name]) > half_s:
            offsets[name] += first.day_s if offsets[name] < 0 else -code.day_s
    return {name: Clock(offset) for name, offset in offsets.items()}


def _clocks_from_flashes(timelines: Mapping[str, Timeline]) -> dict[str, Clock]:
    flashes = {name: flash_times(line) for name, line in timelines.items()}
    if without := [name for name, times in flashes.items() if not len(times)]:
        raise InputError(
            f"camera {without[0]!r} saw no flash: switch a lamp on before all cameras, or give their times"
        )
    first, *others = timelines
    clocks = {first: Clock(rms_s=0.0)}
    for name in others:
        period_s = max(timelines[name].period_s, timelines[first].period_s)
        clocks[name] = _fit_clock(flashes[name], flashes[first], period_s, name, first)
    return clocks


def _clocks_from_sounds(timelines: Mapping[str, Timeline]) -> dict[str, Clock]:
    heard: dict[str, FloatArray] = {}
    for name, line in timelines.items():
        if line.onsets is None or not line.onsets.any():
            raise InputError(f"camera {name!r} recorded no sound: synchronise by flash, timecode, time or index")
        heard[name] = line.onsets
    first, *others = timelines
    clocks = {first: Clock(rms_s=0.0)}
    for name in others:
        times_and_shifts = sound_shifts(heard[name], heard[first])
        if times_and_shifts is None:
            raise InputError(f"what {name!r} and {first!r} heard does not fit together: clap once, near all cameras")
        times, shifts = times_and_shifts
        clocks[name] = _clock_of_events(times, times + shifts, is_drifting=len(times) > 1)
    return clocks


def _clock_of_events(times: FloatArray, reference_times: FloatArray, *, is_drifting: bool) -> Clock:
    """Fit the clock that gives events at times (n,) the times of another camera."""
    slope, middle = (
        np.polyfit(times - times.mean(), reference_times, 1) if is_drifting else (1.0, float(reference_times.mean()))
    )
    residual = reference_times - middle - slope * (times - times.mean())
    rms_s = float(np.sqrt((residual**2).mean()))
    return Clock(float(middle - slope * times.mean()), float((slope - 1) * 1e6), rms_s, is_drifting)


def _fit_clock(times: FloatArray, reference_times: FloatArray, period_s: float, name: str, first: str) -> Clock:
    """Return the clock that matches most flashes to the first camera's. Some flashes may be seen by one only."""
    candidates: list[tuple[int, float, Clock]] = []
    for shift in np.unique((reference_times[:, None] - times).ravel()):
        distance = np.abs(times[:, None] + shift - reference_times)
        is_match = distance.min(1) < _FLASH_TOLERANCE_S
        a, b = times[is_match], reference_times[distance.argmin(1)[is_match]]
        clock = _clock_of_events(a, b, is_drifting=len(np.unique(b)) > 1)
        if abs(clock.drift_ppm * 1e-6) * np.ptp(a) < _MIN_DRIFT_RATIO * period_s:
            clock = _clock_of_events(a, b, is_drifting=False)  # the flashes are too inaccurate to estimate a drift
        candidates.append((int(is_match.sum()), -clock.rms_s, clock))
    count, _, clock = max(candidates, key=lambda candidate: candidate[:2])
    if count < min(len(times), len(reference_times)) / 2:
        raise InputError(f"the flashes that {name!r} and {first!r} saw do not fit together: give each its times")
    return clock


def _match_images(timelines: Mapping[str, Timeline], clocks: Mapping[str, Clock]) -> tuple[IndexArray, FloatArray]:
    """Match images to the slowest camera's within half a period: numbers (F, C) of two or more, and times (F,)."""
    slowest = max(timelines, key=lambda name: np.nan_to_num(timelines[name].period_s))
    by_first: dict[str, FloatArray] = {}
    for name, line in timelines.items():
        by_first[name] = line.time_s * (1 + clocks[name].drift_ppm * 1e-6) + clocks[name].offset_s
    times = by_first[slowest]
    images = np.full((len(times), len(timelines)), -1, np.intp)
    for column, (name, line) in enumerate(timelines.items()):
        camera_times = by_first[name]
        after = np.clip(np.searchsorted(camera_times, times), 0, len(camera_times) - 1)
        before = np.maximum(after - 1, 0)
        nearest = np.where(np.abs(camera_times[before] - times) <= np.abs(camera_times[after] - times), before, after)
        delay = np.abs(camera_times[nearest] - times)
        is_match = delay <= np.nan_to_num(timelines[slowest].period_s, nan=np.inf) / 2 + 1e-9
        order = np.lexsort((delay, nearest))
        _, first = np.unique(nearest[order], return_index=True)
        is_match &= np.isin(np.arange(len(times)), order[first])  # an image belongs to the nearer of two frame sets
        images[is_match, column] = line.index[nearest[is_match]]
    shared = (images >= 0).sum(1) >= min(2, len(timelines))
    return images[shared], times[shared]


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
