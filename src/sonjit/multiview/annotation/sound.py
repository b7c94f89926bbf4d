"""Synchronisation by sound: when each camera's microphone heard what the other ones heard, such as a clap.

Compared is how suddenly it gets louder in each millisecond, which neither distance nor the kind of microphone changes
much. Sound takes 3 ms for a metre: a clap in the middle of the cameras is heard by all at nearly one time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sonjit.arrays import FloatArray
from sonjit.errors import InputError
from sonjit.media.sources.video import open_container, video_stream

STEP_S = 0.001
"""Time from one value of a sound's onsets to the next."""

_RATE = 16_000
_AFTER, _BEFORE = 5, 20
"""Values that a moment's level is the mean of, and that it is compared with."""

_FLOOR = 1e-8
"""Power in full scale below which all is silence."""

_NEXT_S, _CLEAR = 0.03, 1.2
"""How far the next best shift is from the best at least, and by how many times that must fit better."""

_PART_S, _LEAST_PARTS, _DRIFT_S = 10.0, 4, 0.1
"""For the drift: length of the parts, how many are needed, and how far their shifts may differ from the whole's."""


def read_onsets(path: Path) -> FloatArray | None:
    """(n,) how suddenly a video gets louder, in squared decibels, each `STEP_S` from its first image on.

    Returns:
        None where the video has no sound.

    Raises:
        InputError: it cannot be read.
    """
    from av import AudioResampler
    from av.error import FFmpegError

    with open_container(path, str(path)) as container:
        stream = next(iter(container.streams.audio), None)
        images = video_stream(container)
        if stream is None or images is None:
            return None
        start_s = float((images.start_time or 0) * (images.time_base or 0))
        resampler = AudioResampler("flt", "mono", _RATE)
        parts: list[tuple[int, FloatArray]] = []
        try:
            for frame in container.decode(stream):
                for part in resampler.resample(frame):
                    at = float((part.pts or 0) * (part.time_base or 0)) - start_s
                    parts.append((round(at * _RATE), np.asarray(part.to_ndarray(), np.float64).ravel()))
        except (FFmpegError, OSError) as error:
            raise InputError(f"{path}: its sound cannot be decoded: {error.strerror or error}") from None
    samples = np.zeros(max((first + len(own) for first, own in parts), default=0))
    for first, own in parts:
        samples[max(first, 0) : max(first + len(own), 0)] = own[max(-first, 0) :]
    return onsets(samples)


def onsets(samples: FloatArray) -> FloatArray:
    """(n,) squared rise of the level in decibels for each millisecond of a sound (16 n,) at 16 kHz.

    >>> clap = np.concatenate([np.zeros(8000), np.ones(160), np.zeros(8000)])
    >>> int(onsets(clap).argmax())
    500
    """
    each = round(_RATE * STEP_S)
    power = (samples[: len(samples) // each * each].reshape(-1, each) ** 2).mean(1)
    if len(power) < _AFTER + _BEFORE:
        return np.zeros(len(power))
    level = 10 * np.log10(power + _FLOOR)
    sums = np.concatenate([[0.0], np.cumsum(level)])
    now = (sums[_AFTER:] - sums[:-_AFTER]) / _AFTER  # of each moment and those after it
    before = (sums[_BEFORE:] - sums[:-_BEFORE]) / _BEFORE
    rise = np.zeros(len(level))
    rise[_BEFORE : len(now)] = now[_BEFORE:] - before[: len(now) - _BEFORE]
    return np.maximum(rise, 0) ** 2


def sound_shifts(own: FloatArray, theirs: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """How much is added to one sound's times to give another's, and where in its time that was found.

    Args:
        own: (n,) onsets.
        theirs: (m,) likewise.

    Returns:
        Times and shifts in seconds, (k,) of parts of the recording that each fit clearly, for the drift; (1,) of the
        whole where fewer do. None where no shift fits clearly better than all others.
    """
    whole = _shift(own, theirs)
    if whole is None:
        return None
    times: list[float] = []
    shifts: list[float] = []
    size = round(_PART_S / STEP_S)
    for first in range(0, len(own), size):
        low = first + whole - round(_DRIFT_S / STEP_S)
        if low < 0:
            continue
        part = own[first : first + size]
        there = theirs[low : low + len(part) + 2 * round(_DRIFT_S / STEP_S)]
        if (
            len(there) > len(part)
            and (found := _shift(part, there)) is not None
            and 0 <= found <= len(there) - len(part)
        ):
            loudest = int(part.argmax())
            times.append((first + loudest) * STEP_S)
            shifts.append((low - first + found) * STEP_S)
    if len(times) < _LEAST_PARTS:
        return np.array([int(own.argmax()) * STEP_S]), np.array([whole * STEP_S])
    return np.array(times), np.array(shifts)


def _shift(own: FloatArray, theirs: FloatArray) -> int | None:
    """The number of values by which `own` is to be moved to fit `theirs` best; None where another does as well."""
    size = 1 << (len(own) + len(theirs)).bit_length()
    fit = np.fft.irfft(np.fft.rfft(theirs, size) * np.conj(np.fft.rfft(own, size)), size)
    fit = np.convolve(np.concatenate([fit[-3:], fit, fit[:3]]), np.ones(7) / 7, "valid")  # microphones are not alike
    best = int(fit.argmax())
    near = round(_NEXT_S / STEP_S)
    others = np.delete(np.roll(fit, near - best), np.s_[: 2 * near + 1])
    if not fit[best] > _CLEAR * max(float(others.max()), 0.0) or fit[best] <= 0:
        return None
    return best - size if best >= len(theirs) else best
