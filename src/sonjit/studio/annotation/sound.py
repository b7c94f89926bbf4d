"""Synchronise cameras by sound, such as a clap that all microphones recorded.

The rise of the level in each millisecond is compared, which distance and type of microphone hardly affect. Sound takes
3 ms per metre: a clap in the centre of the cameras reaches all at nearly the same time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.errors import InputError
from sonjit.media.sources.video import open_container, video_stream

STEP_S = 0.001
"""Time step of onsets in seconds."""
_SAMPLE_RATE = 16_000
_LEVEL_VALUES, _PREVIOUS_VALUES = 5, 20
"""Numbers of values averaged for the current level and for the previous one."""
_SILENCE_POWER = 1e-8
"""Power relative to full scale below which sound is silence."""
_MIN_SEPARATION_S, _CLEAR_RATIO = 0.03, 1.2
"""Least distance of the next best shift in seconds, and the ratio by which the best one must fit better."""
_PART_S, _MIN_PARTS, _MAX_DRIFT_S = 10.0, 4, 0.1
"""For the drift: length of a part in seconds, least number of parts, and largest deviation of their shifts."""


def read_onsets(path: Path) -> FloatArray | None:
    """Return the onsets (n,) of a video's sound in squared decibels, one per `STEP_S` from its first image.

    Returns:
        Onsets, or None if the video has no sound.

    Raises:
        InputError: The video cannot be read.
    """
    from av import AudioResampler
    from av.error import FFmpegError

    with open_container(path, str(path)) as container:
        stream = next(iter(container.streams.audio), None)
        images = video_stream(container)
        if stream is None or images is None:
            return None
        start_s = float((images.start_time or 0) * (images.time_base or 0))
        resampler = AudioResampler("flt", "mono", _SAMPLE_RATE)
        parts: list[tuple[int, FloatArray]] = []
        try:
            for frame in container.decode(stream):
                for part in resampler.resample(frame):
                    start = float((part.pts or 0) * (part.time_base or 0)) - start_s
                    parts.append((round(start * _SAMPLE_RATE), np.asarray(part.to_ndarray(), np.float64).ravel()))
        except (FFmpegError, OSError) as error:
            raise InputError(f"{path}: its sound cannot be decoded: {error.strerror or error}") from None
    samples = np.zeros(max((first + len(values) for first, values in parts), default=0))
    for first, values in parts:
        samples[max(first, 0) : max(first + len(values), 0)] = values[max(-first, 0) :]
    return onsets(samples)


def onsets(samples: FloatArray) -> FloatArray:
    """Return the squared rise (n,) of the level in decibels per millisecond of a sound (16 n,) at 16 kHz.

    >>> clap = np.concatenate([np.zeros(8000), np.ones(160), np.zeros(8000)])
    >>> int(onsets(clap).argmax())
    500
    """
    each = round(_SAMPLE_RATE * STEP_S)
    power = (samples[: len(samples) // each * each].reshape(-1, each) ** 2).mean(1)
    if len(power) < _LEVEL_VALUES + _PREVIOUS_VALUES:
        return np.zeros(len(power))
    level = 10 * np.log10(power + _SILENCE_POWER)
    sums = np.concatenate([[0.0], np.cumsum(level)])
    now = (sums[_LEVEL_VALUES:] - sums[:-_LEVEL_VALUES]) / _LEVEL_VALUES  # mean of the current and following values
    before = (sums[_PREVIOUS_VALUES:] - sums[:-_PREVIOUS_VALUES]) / _PREVIOUS_VALUES
    rise = np.zeros(len(level))
    rise[_PREVIOUS_VALUES : len(now)] = now[_PREVIOUS_VALUES:] - before[: len(now) - _PREVIOUS_VALUES]
    return np.maximum(rise, 0) ** 2


def sound_shifts(own: FloatArray, theirs: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """Return what to add to one sound's times to get another's, and the times at which this was measured.

    Args:
        own: (n,) onsets of the sound.
        theirs: (m,) onsets of the other sound.

    Returns:
        Times and shifts (k,) in seconds of the parts that fit clearly, for the drift, or (1,) of the total recording if
        too few do. None if no shift fits clearly better than all others.
    """
    total_shift = _best_shift(own, theirs)
    if total_shift is None:
        return None
    times: list[float] = []
    shifts: list[float] = []
    size = round(_PART_S / STEP_S)
    for first in range(0, len(own), size):
        low = first + total_shift - round(_MAX_DRIFT_S / STEP_S)
        if low < 0:
            continue
        part = own[first : first + size]
        window = theirs[low : low + len(part) + 2 * round(_MAX_DRIFT_S / STEP_S)]
        if (
            len(window) > len(part)
            and (part_shift := _best_shift(part, window)) is not None
            and 0 <= part_shift <= len(window) - len(part)
        ):
            loudest = int(part.argmax())
            times.append((first + loudest) * STEP_S)
            shifts.append((low - first + part_shift) * STEP_S)
    if len(times) < _MIN_PARTS:
        return np.array([int(own.argmax()) * STEP_S]), np.array([total_shift * STEP_S])
    return np.array(times), np.array(shifts)


def _best_shift(own: FloatArray, theirs: FloatArray) -> int | None:
    """Return the number of values by which to move `own` to fit `theirs` best, or None if it is ambiguous."""
    size = 1 << (len(own) + len(theirs)).bit_length()
    fit = np.fft.irfft(np.fft.rfft(theirs, size) * np.conj(np.fft.rfft(own, size)), size)
    fit = np.convolve(
        np.concatenate([fit[-3:], fit, fit[:3]]), np.ones(7) / 7, "valid"
    )  # smooth, because microphones differ
    best = int(fit.argmax())
    separation = round(_MIN_SEPARATION_S / STEP_S)
    others = np.delete(np.roll(fit, separation - best), np.s_[: 2 * separation + 1])
    if not fit[best] > _CLEAR_RATIO * max(float(others.max()), 0.0) or fit[best] <= 0:
        return None
    return best - size if best >= len(theirs) else best
