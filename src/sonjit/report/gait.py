"""Steps of a person who walks across the image, from the places of heels and toes relative to the hips.

Source: Zeni, Richards and Higginson 2008, Two simple methods for determining gait events during treadmill and
overground walking using kinematic data: a heel strikes where it is farthest before the hips, and a foot leaves the
floor where its toes are farthest behind them.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np

from sonjit._util import BoolArray, FloatArray
from sonjit.report.angles import filtered, track_pixels
from sonjit.report.texts import Language, translated
from sonjit.results import Body
from sonjit.results.skeletons import load_skeleton

Foot: TypeAlias = Literal["left", "right"]

FEET: Final = ("left", "right")
ERRORS_FILE: Final = Path(__file__).with_name("gait_errors.json")
"""Errors that benchmarks/gait.py writes."""
MIN_STEPS = 3  # of a gait that is described, and of each foot to compare left and right
_OF_FEET = ("step time left", "step time right", "difference of step times", "stance left", "stance right")
_MIN_STEP_S, _MAX_STEP_S = 0.25, 1.2  # durations of a step
_MIN_SWING = 0.25  # minimum distance between both extremes of a foot, in lengths of the leg
_MIN_ADVANCE = 0.2  # minimum distance by which a step moves the hips, in lengths of the leg
_EYES_OF_HEIGHT = 0.936  # height of the eyes of a standing adult, relative to the body height
_INDEX = load_skeleton("body_blazepose33").index
_EYES, _HIPS = ([_INDEX(f"{side}_{name}") for side in FEET] for name in ("eye", "hip"))
_HEELS = [_INDEX(f"{side}_heel") for side in FEET]


@dataclass(frozen=True)
class Gait:
    """Events of a person who walks, in seconds."""

    strikes: dict[Foot, FloatArray]  # times (N,) at which a heel strikes the floor
    lifts: dict[Foot, FloatArray]  # times (N,) at which the toes leave the floor
    speed_m_s: float  # NaN without a known length

    @property
    def steps(self) -> list[tuple[Foot, float, float]]:
        """Foot, time of its strike and duration of the step, from the strike of the other foot."""
        events: list[tuple[float, Foot]] = []
        for foot, times in self.strikes.items():
            events.extend((float(time), foot) for time in times)
        events.sort()
        return [
            (foot, time, time - before)
            for (before, other), (time, foot) in pairwise(events)
            if foot != other and time - before <= _MAX_STEP_S
        ]

    @property
    def cadence(self) -> float:
        """Steps per minute."""
        durations = [duration for _, _, duration in self.steps]
        return 60 / float(np.mean(durations)) if durations else math.nan

    def step_time_s(self, foot: Foot) -> float:
        """Return the mean duration of the steps that end on a foot, in seconds."""
        return _mean([duration for side, _, duration in self.steps if side == foot])

    @property
    def compares_feet(self) -> bool:
        """Whether both feet have enough steps to compare them."""
        feet = [foot for foot, _, _ in self.steps]
        return all(feet.count(foot) >= MIN_STEPS for foot in FEET)

    @property
    def asymmetry(self) -> float:
        """Difference of the step times of left and right, in % of their mean."""
        left, right = (self.step_time_s(foot) for foot in ("left", "right"))
        return 100 * abs(left - right) / ((left + right) / 2)

    def stance(self, foot: Foot) -> float:
        """Return the share of a stride in which a foot is on the floor, in %."""
        shares: list[float] = []
        strikes = self.strikes[foot]
        for begin, end in pairwise(strikes):
            inside = self.lifts[foot][(self.lifts[foot] > begin) & (self.lifts[foot] < end)]
            if len(inside) == 1 and end - begin <= 2 * _MAX_STEP_S:
                shares.append(100 * float(inside[0] - begin) / float(end - begin))
        return _mean(shares)

    def rows(self, language: Language = "en") -> list[tuple[str, str, str]]:
        """Return rows of name, value with unit, and expected error. Values that are not known are left out.

        Values of each foot require three steps of both feet.
        """
        values = {
            "steps": (float(len(self.steps)), "", 0),
            "cadence": (self.cadence, "per minute", 0),
            "step time left": (self.step_time_s("left"), "s", 2),
            "step time right": (self.step_time_s("right"), "s", 2),
            "difference of step times": (self.asymmetry, "%", 0),
            "stance left": (self.stance("left"), "% of the stride", 0),
            "stance right": (self.stance("right"), "% of the stride", 0),
            "speed": (self.speed_m_s, "m/s", 2),
        }
        errors_by_name = _errors()
        return [
            (
                translated(language, name),
                _with_unit(f"{value:.{digits}f}", unit, language),
                _with_unit(_error(errors_by_name.get(name), digits), unit, language)
                or translated(language, "not known"),
            )
            for name, (value, unit, digits) in values.items()
            if math.isfinite(value) and (self.compares_feet or name not in _OF_FEET)
        ]


def find_gait(
    bodies: Sequence[Body | None],
    times: Sequence[float],
    rate_hz: float | FloatArray,
    *,
    height_m: float | None = None,
    floor_m_per_px: float | None = None,
) -> Gait | None:
    """Return the gait of a person who walks across the image, or None.

    A person walks who makes at least three steps, most of which move the hips. Other movements of the legs are no gait.

    Args:
        bodies: The person in each frame, or None.
        times: Times of the frames in seconds.
        rate_hz: Frames per second, of the recording or around each frame (N,).
        height_m: Body height in metres, for the speed.
        floor_m_per_px: Metres of the floor below the person per pixel, for the speed in place of the height.
    """
    pixels = track_pixels(bodies)
    legs_px = np.linalg.norm(pixels[:, _HEELS] - pixels[:, _HIPS], axis=-1)
    if not np.isfinite(legs_px).any():
        return None
    hips, leg_px = _mean_known(pixels[:, _HIPS]), float(np.nanmedian(legs_px))
    ahead = _direction(pixels)
    strikes: dict[Foot, FloatArray] = {}
    lifts: dict[Foot, FloatArray] = {}
    for foot in ("left", "right"):
        heel, toe = (
            filtered(ahead * (pixels[:, _INDEX(f"{foot}_{name}"), 0] - hips[:, 0]), rate_hz)
            for name in ("heel", "foot_index")
        )
        strikes[foot] = np.array([times[k] for k in _peaks(heel, rate_hz, _MIN_SWING * leg_px)], np.float64)
        lifts[foot] = np.array([times[k] for k in _peaks(-toe, rate_hz, _MIN_SWING * leg_px)], np.float64)
    gait = Gait(strikes, lifts, math.nan)
    if len(gait.steps) < MIN_STEPS or _advance(hips[:, 0], np.array(times), gait) < _MIN_ADVANCE * leg_px:
        return None
    metres_per_px = floor_m_per_px or (_metres_per_px(pixels, height_m) if height_m else math.nan)
    return Gait(strikes, lifts, metres_per_px * _speed_px_s(hips, np.array(times), gait))


def _advance(hips_x: FloatArray, times: FloatArray, gait: Gait) -> float:
    """Return the median distance in pixels by which a step moves the hips (N,), seen at times (N,)."""
    finite = np.isfinite(hips_x)
    ends = [np.interp((time - duration, time), times[finite], hips_x[finite]) for _, time, duration in gait.steps]
    return abs(float(np.median(np.diff(ends))))


def _direction(pixels: FloatArray) -> float:
    """Return 1 if the toes point to the right of the image, -1 to the left, for keypoints (N, 33, 2) in pixels."""
    toes = [_INDEX(f"{side}_foot_index") for side in FEET]
    forward = pixels[:, toes, 0] - pixels[:, _HEELS, 0]
    return 1.0 if np.nansum(forward) > 0 else -1.0


def _peaks(values: FloatArray, rate_hz: float | FloatArray, prominence: float) -> list[int]:
    """Return the indices of maxima of values (N,) that stand out by a prominence on both sides. NaN is unknown."""
    rates = np.broadcast_to(np.asarray(rate_hz, np.float64), values.shape).tolist()
    peaks: list[int] = []
    for k in np.flatnonzero(np.isfinite(values)).tolist():
        if not 0 < k < len(values) - 1 or not np.isfinite(values[[k - 1, k + 1]]).all():
            continue
        reach = max(1, round(_MIN_STEP_S * rates[k]))
        near = values[max(k - reach, 0) : k + reach + 1]
        if values[k] < np.max(near[np.isfinite(near)]) or (peaks and k - peaks[-1] < reach):
            continue
        window = round(_MAX_STEP_S * rates[k])
        sides = values[max(k - window, 0) : k], values[k + 1 : k + 1 + window]
        if all(np.isfinite(side).any() and values[k] - np.nanmin(side) >= prominence for side in sides):
            peaks.append(k)
    return peaks


def _metres_per_px(pixels: FloatArray, height_m: float) -> float:
    """Return the size of a pixel in metres at a person of this height, of keypoints (N, 33, 2) in pixels."""
    eyes, lower = _mean_known(pixels[:, _EYES])[:, 1], np.fmax(*pixels[:, _HEELS, 1].T)
    finite = np.isfinite(lower - eyes)
    return height_m * _EYES_OF_HEIGHT / float(np.median((lower - eyes)[finite])) if finite.any() else math.nan


def _speed_px_s(hips: FloatArray, times: FloatArray, gait: Gait) -> float:
    """Return the speed of the hips (N, 2) in pixels per second between the first and the last strike."""
    events = np.concatenate(list(gait.strikes.values()))
    walking: BoolArray = (times >= events.min()) & (times <= events.max()) & np.isfinite(hips[:, 0])
    if walking.sum() < 2:
        return math.nan
    return abs(float(np.polyfit(times[walking], hips[walking, 0], 1)[0]))


def _mean_known(values: FloatArray) -> FloatArray:
    """Return the mean (N, 2) of the known points among points (N, K, 2), NaN if there is none."""
    finite = np.isfinite(values)
    total = np.where(finite, values, 0.0).sum(1)
    return np.where(finite.any(1), total / np.maximum(finite.sum(1), 1), np.nan)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _with_unit(value: str, unit: str, language: Language) -> str:
    """Return a number with its unit, or nothing without a number."""
    return f"{value} {unit and translated(language, unit)}".strip() if value else ""


def _error(value: float | None, digits: int) -> str:
    """Return an error as text, rounded up, or nothing."""
    return "" if value is None else f"{math.ceil(value * 10**digits) / 10**digits:.{digits}f}"


@cache
def _errors() -> dict[str, float]:
    return json.loads(ERRORS_FILE.read_text("utf-8"))["errors"]


def origin() -> str:
    """Return on what the errors of a gait rest."""
    return json.loads(ERRORS_FILE.read_text("utf-8"))["origin"]
