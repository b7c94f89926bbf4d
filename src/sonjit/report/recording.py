"""What the page of a report states about one person: repetitions, ranges of motion, sides and moments."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, cast

import numpy as np

from sonjit._util import FloatArray, InputError
from sonjit.report import errors
from sonjit.report.angles import ANGLES, local_rates, runs, track_angles, uncut_bodies
from sonjit.report.conventions import Convention
from sonjit.report.documents import number
from sonjit.report.gait import Gait, find_gait
from sonjit.report.texts import Language, translated
from sonjit.results import Body, Frame
from sonjit.results.measures import Repetition, find_repetitions, instance_values, with_owners
from sonjit.runs.annotations import AngleLimits

SIDES: Final = ("left", "right")
EXERCISES: Final = ("knee", "hip", "elbow")
"""Joints whose repetitions are counted by default. The first one that repeats is the joint of the exercise."""
HEADINGS: Final = ("angle", "side", "seen %", "from °", "to °", "range °", "range with error °", "angle error °")
SIDE_HEADINGS: Final = ("joint", "left °", "right °", "difference °", "95 % error °", "in words")
INCOMPLETE_HEADINGS: Final = ("angle", "time s", "not counted because")
WRISTS: Final = tuple(f"{side}_wrist_{angle}_rad" for angle in ("flexion", "deviation") for side in SIDES)
"""Angles without a measured error, which are drawn but not printed."""
_PAIRED = ("elbow", "shoulder", "hip", "knee", "ankle")
_STRAIGHT_DEG = {"elbow": 180.0, "hip": 180.0, "knee": 180.0, "ankle": 90.0}
"""Angle that is 0 in the clinical convention. The other angles are the same in both."""
_MIN_SHARE_OF_MOST = 0.1  # minimum frames of a person that is named, as a share of the most frequent one's
_MIN_SEEN = 0.5  # minimum share of the person's frames in which both sides of a joint are seen to compare them
_REPEATED: Final = ("1 repetition of the {joint}", "{count} repetitions of the {joint}")
_SIDES_MAY_BE_EQUAL: Final = (
    "No difference between left and right {joint} was found; one camera cannot see less than {error}°."
)
_SIDES_DIFFER: Final = (
    "Left and right {joint} differ by {difference}°, which is more than one camera can mistake, {error}°."
)
_MAX_GAP_S = 1.0  # longest gap inside a repetition
_SQUAT_HIP_DEG = 145.0  # angle to which a hip bends in a squat
_SQUAT_SIDES_DEG = 45.0  # maximum difference of both knees in a squat, in which both carry the person


@dataclass(frozen=True)
class Bend:
    """One repetition of a joint, with both sides where both are counted."""

    begin_s: float
    end_s: float
    lowest: dict[str, tuple[float, float]]  # by name of the angle: its smallest value, 180 is straight, and its time

    @property
    def deepest(self) -> str:
        """Name of the angle that bends most."""
        return min(self.lowest, key=lambda name: self.lowest[name][0])


@dataclass(frozen=True)
class Moment:
    """Frame of which the page shows a picture."""

    frame: Frame
    angle: str  # name of the angle that the picture shows; empty for none
    value_deg: float  # in the convention of the page
    caption: str


@dataclass(frozen=True)
class Recording:
    """Angles of one person in a video."""

    name: str  # name of the video
    model: str  # model of the body
    person: int  # id of the person
    people: int  # number of people that were tracked
    frames: list[Frame]  # all frames
    angles: dict[str, FloatArray]  # filtered angles in degrees by name (N,), 180 is straight; NaN where unknown
    errors_deg: dict[str, float]  # error that 95 % of the values of an angle stay below, by name
    counted: tuple[AngleLimits, ...]  # angles whose repetitions are counted
    convention: Convention = "straight"
    gait: Gait | None = None  # of a person who walks across the image
    bodies: Sequence[Body | None] = ()  # the person in each frame, or None
    language: Language = "en"
    asked: tuple[str, ...] = ()  # names of the angles that the user asked for
    cuts_s: tuple[float, ...] = ()  # times in seconds at which another scene begins

    def text(self, text: str, **values: object) -> str:
        """Return a text in the language of the page, with values in its braces."""
        return translated(self.language, text, **values)

    def name_of(self, name: str) -> str:
        """Return the name of an angle in the language of the page."""
        side = side_of(name)
        joint = self.text(errors.joint_of(name))
        return f"{self.text(side)} {joint}" if side else joint

    @cached_property
    def times(self) -> list[float]:
        """Times of the frames in seconds."""
        return [frame.time or 0.0 for frame in self.frames]

    def shown(self, name: str) -> FloatArray:
        """Return an angle (N,) in degrees in the convention of the page."""
        return self.angles[name] if self._is_plain(name) else _STRAIGHT_DEG[errors.joint_of(name)] - self.angles[name]

    def in_convention(self, value_deg: float, name: str) -> float:
        """Return one value of an angle in degrees in the convention of the page."""
        return value_deg if self._is_plain(name) else _STRAIGHT_DEG[errors.joint_of(name)] - value_deg

    def _is_plain(self, name: str) -> bool:
        return self.convention == "straight" or errors.joint_of(name) not in _STRAIGHT_DEG

    @property
    def plots(self) -> dict[str, dict[str, FloatArray]]:
        """Known angles in degrees by joint and side."""
        curves: dict[str, dict[str, FloatArray]] = {}
        for name in self.angles:
            if np.isfinite(self.angles[name]).any():
                curves.setdefault(errors.joint_of(name), {})[side_of(name)] = self.shown(name)
        return curves

    def legend(self, joint: str, side: str) -> str:
        """Return the words of a curve, with the error of the angle where it is known."""
        name = next(measure for measure in self.angles if (errors.joint_of(measure), side_of(measure)) == (joint, side))
        return f"{self.text(side or joint)}{self._error(name, '°')}"

    def _error(self, name: str, unit: str = "") -> str:
        """Return the error of an angle as it follows a value, or nothing if it is not known."""
        error = self.errors_deg.get(name, math.nan)
        return f" ± {whole(error)}{unit}" if math.isfinite(error) else ""

    @cached_property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Ends of the range of motion in degrees by name, the 2nd and 98th percentile of the frames seen."""
        shown_values = {
            name: self.shown(name)[np.isfinite(self.angles[name])] for name in self.angles if name not in WRISTS
        }
        ends = {name: np.percentile(values, errors.PERCENTILES) for name, values in shown_values.items() if len(values)}
        return {name: (float(low), float(high)) for name, (low, high) in ends.items()}

    @property
    def spans(self) -> dict[str, float]:
        """Sizes of the ranges in degrees by name: the differences of both ends as the page prints them."""
        return {name: float(np.round(high) - np.round(low)) for name, (low, high) in self.ranges.items()}

    @cached_property
    def moved(self) -> list[str]:
        """Names of the angles that moved by more than the error of their range, or that the user asked for."""
        shown = [*self.asked, *(limits.measure for limits in self.counted)]
        return [
            name
            for name, span in self.spans.items()
            if name in shown or span > errors.range_error_deg(self.model, errors.joint_of(name))
        ]

    def rows(self, names: Iterable[str]) -> list[tuple[str, ...]]:
        """Return rows of the table of ranges."""
        rows: list[tuple[str, ...]] = []
        for name in names:
            joint, side, (low, high) = errors.joint_of(name), side_of(name), self.ranges[name]
            interval = self._interval(self.spans[name], errors.range_error_deg(self.model, joint))
            numbers = [whole(value) for value in (100 * self.seen(name), low, high, self.spans[name])]
            error = whole(self.errors_deg[name])
            rows.append((self.text(joint), self.text(side) if side else "–", *numbers, interval, error))
        return rows

    def seen(self, name: str) -> float:
        """Return the share of the person's frames in which an angle is known, 0 to 1."""
        return min(int(np.isfinite(self.angles[name]).sum()) / self.frames_seen, 1.0)

    @property
    def frames_of_people(self) -> dict[int, int]:
        """Number of frames by id of each person who is in at least a tenth as many as the most frequent one."""
        bodies = (part for frame in self.frames for part in frame.parts_of(Body))
        counts = Counter(body.id for body in bodies if body.id is not None)
        most = max(counts.values(), default=0)
        return {number: count for number, count in sorted(counts.items()) if count >= most * _MIN_SHARE_OF_MOST}

    @property
    def frames_seen(self) -> int:
        """Number of frames in which the person was found."""
        return sum(body is not None for body in self.bodies)

    @property
    def side_rows(self) -> list[tuple[str, ...]]:
        """Rows that compare the ranges of left and right with the 95 % error of such a difference."""
        rows: list[tuple[str, ...]] = []
        for joint in _PAIRED:
            names = [f"{side}_{joint}_angle_rad" for side in SIDES]
            if not all(name in self.spans for name in names):
                continue
            left, right = (self.spans[name] for name in names)
            error = errors.difference_error_deg(joint, self.model)
            rarer = min(names, key=self.seen)
            if self.seen(rarer) < _MIN_SEEN:
                words = self.text("{side} was seen too rarely", side=self.text(side_of(rarer)))
            else:
                words = self.text("different" if abs(left - right) > error else "within the error")
            row = self.text(joint), *map(whole, (left, right, abs(left - right), error)), words
            rows.append(row)
        return rows

    @property
    def sides(self) -> str:
        """Sentence about left and right of the joint of the headline, or nothing if they cannot be compared."""
        joint = "" if self.main_angle is None else errors.joint_of(self.main_angle)
        names = [f"{side}_{joint}_angle_rad" for side in SIDES]
        if self.gait is not None or not all(name in self.spans and self.seen(name) >= _MIN_SEEN for name in names):
            return ""
        left, right = (self.spans[name] for name in names)
        error = errors.difference_error_deg(joint, self.model)
        values = {"joint": self.text(joint), "difference": whole(abs(left - right)), "error": whole(error)}
        text = _SIDES_DIFFER if abs(left - right) > error else _SIDES_MAY_BE_EQUAL
        return self.text(text, **values)

    def _interval(self, value: float, error: float) -> str:
        """Return the interval of a range of motion in degrees with its error, or a dash if the error is not known."""
        if not math.isfinite(error):
            return "–"
        return self.text("{low} to {high}", low=whole(max(value - error, 0)), high=whole(value + error))

    @cached_property
    def bends(self) -> dict[str, list[Bend]]:
        """Repetitions by joint, with those of left and right that overlap in time as one."""
        bends: dict[str, list[Bend]] = {}
        for joint, limits in self._counted_joints().items():
            names = [limit.measure for limit in limits]
            intervals = sorted(
                (repetition.begin_s, repetition.end_s) for limit in limits for repetition in self._repetitions(limit)
            )
            merged: list[list[float]] = []
            for begin, end in intervals:
                if merged and begin < merged[-1][1]:
                    merged[-1][1] = max(merged[-1][1], end)
                else:
                    merged.append([begin, end])
            bends[joint] = [Bend(begin, end, self._lowest(names, begin, end)) for begin, end in merged]
        return bends

    def _counted_joints(self) -> dict[str, list[AngleLimits]]:
        joints: dict[str, list[AngleLimits]] = {}
        for limits in self.counted:
            joints.setdefault(errors.joint_of(limits.measure), []).append(limits)
        return joints

    def _lowest(self, names: Sequence[str], begin_s: float, end_s: float) -> dict[str, tuple[float, float]]:
        """Return the smallest value and its time in seconds of each angle that is known in an interval."""
        lowest: dict[str, tuple[float, float]] = {}
        times = np.array(self.times)
        inside = (times >= begin_s) & (times <= end_s)
        for name in names:
            values = np.where(inside, self.angles.get(name, np.full(len(times), np.nan)), np.nan)
            if np.isfinite(values).any():
                index = int(np.nanargmin(values))
                lowest[name] = float(values[index]), float(times[index])
        return lowest

    @property
    def are_squats(self) -> bool:
        """Whether the repetitions of the knees are squats: both knees bend alike, and the hips with them."""
        bends = self.bends.get("knee", [])
        return bool(bends) and all(self._is_squat(bend) for bend in bends)

    def _is_squat(self, bend: Bend) -> bool:
        knees = [value for value, _ in bend.lowest.values()]
        hips = self._lowest([f"{side}_hip_angle_rad" for side in SIDES], bend.begin_s, bend.end_s)
        bent = any(value <= _SQUAT_HIP_DEG for value, _ in hips.values())
        return bent and len(knees) == 2 and abs(knees[0] - knees[1]) <= _SQUAT_SIDES_DEG

    @property
    def bend_table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Headings and rows of the table of repetitions."""
        names = [limits.measure for limits in self.counted if any(self.bends.values())]
        headings = "number", "joint", "begin s", "end s", "duration s"
        most = [self.text("{angle}, most bent °", angle=self.name_of(name)) for name in names]
        rows: list[tuple[str, ...]] = []
        for joint, bends in self.bends.items():
            for at, bend in enumerate(bends, 1):
                times = map(number, (bend.begin_s, bend.end_s, bend.end_s - bend.begin_s))
                values = {name: self.in_convention(value, name) for name, (value, _) in bend.lowest.items()}
                cells = (f"{whole(values[name])}{self._error(name)}" if name in values else "–" for name in names)
                rows.append((str(at), self.text(joint), *times, *cells))
        return (*map(self.text, headings), *most), rows

    @property
    def counting(self) -> list[str]:
        """Sentences that state which movement counts as a repetition."""
        names: dict[tuple[float, float], list[str]] = {}
        for limits in self.counted:
            names.setdefault((limits.low_rad, limits.high_rad), []).append(limits.measure)
        sentences: list[str] = []
        for ends, measures in names.items():
            bent, straight = (self.in_convention(math.degrees(end), measures[0]) for end in ends)
            shown = ", ".join(map(self.name_of, measures))
            rule = "{angles}: a repetition goes from {straight}° to {bent}° or further, and back."
            sentences.append(self.text(rule, angles=shown, straight=whole(straight), bent=whole(bent)))
        return sentences

    @property
    def incomplete(self) -> list[tuple[str, ...]]:
        """Rows of the bent positions outside all repetitions, with the reason why they are not counted."""
        return [(self.name_of(name), number(time_s), reason) for name, time_s, reason in self.uncounted]

    @property
    def uncounted(self) -> list[tuple[str, float, str]]:
        """Name of the angle, time in seconds and reason of each bent position that is not counted."""
        positions: list[tuple[str, float, str]] = []
        times = np.array(self.times)
        for limits in self.counted:
            values = np.radians(self.angles.get(limits.measure, np.full(len(times), np.nan)))
            bends = self.bends[errors.joint_of(limits.measure)]
            straight = np.flatnonzero(values >= limits.high_rad)
            half_rad = (limits.low_rad + limits.high_rad) / 2
            for begin, end in runs(~(values > half_rad)):  # bends with less than half a movement between are one
                if not (values[begin:end] <= limits.low_rad).any():
                    continue
                lowest = begin + int(np.nanargmin(values[begin:end]))
                at = int(np.searchsorted(straight, lowest))
                before = int(straight[at - 1]) if at else None
                after = int(straight[at]) if at < len(straight) else None
                part = slice(0 if before is None else before, None if after is None else after + 1)
                if any(bend.begin_s <= times[lowest] <= bend.end_s for bend in bends):
                    continue
                straightest = self.in_convention(math.degrees(limits.high_rad), limits.measure)
                reason = self.text(_reason(values[part], times[part], before, after), straight=whole(straightest))
                positions.append((limits.measure, float(times[lowest]), reason))
        return positions

    def _repetitions(self, limits: AngleLimits) -> list[Repetition]:
        values = self.angles.get(limits.measure)
        if values is None:
            return []
        return find_repetitions(np.radians(values), self.times, low_rad=limits.low_rad, high_rad=limits.high_rad)

    @property
    def main_angle(self) -> str | None:
        """Name of the angle of the headline: the deepest one of a repetition, or the one that moves most."""
        bends = [bend for of_joint in self.bends.values() for bend in of_joint]
        if bends:
            deepest = min(bends, key=lambda bend: bend.lowest[bend.deepest][0])
            return deepest.deepest
        limbs = {name: span for name, span in self.spans.items() if errors.joint_of(name) in _PAIRED[:4]}
        limbs = {name: limbs[name] for name in self.asked if name in limbs} or limbs
        moving = {name: span for name, span in limbs.items() if self.seen(name) >= _MIN_SEEN} or limbs
        return max(moving, key=moving.__getitem__, default=None)

    @property
    def headline(self) -> str:
        """One line that states what the person did."""
        name = self.main_angle
        if self.gait is not None:
            values = {"count": len(self.gait.steps), "cadence": whole(self.gait.cadence)}
            return self.text("{count} steps, {cadence} per minute", **values)
        if name is None:
            return self.text("No movement of a joint was seen")
        joint = errors.joint_of(name)
        if bends := self.bends.get(joint):
            deepest = min((bend.lowest[name] for bend in bends if name in bend.lowest), default=(math.nan, math.nan))
            value = whole(self.in_convention(deepest[0], name))
            singular, plural = ("1 squat", "{count} squats") if joint == "knee" and self.are_squats else _REPEATED
            words = {"count": len(bends), "joint": self.text(joint)}
            counted = self.text(singular if len(bends) == 1 else plural, **words)
            is_certain = self._is_side_certain(name)
            return self.text(
                "{counted}, deepest {angle} {value}°{doubt} at {time} s",
                counted=counted,
                angle=self.name_of(name) if is_certain else self.text(joint),
                value=value,
                doubt=self._doubt(name, None if is_certain else deepest[1]),
                time=f"{deepest[1]:.1f}",
            )
        low, high = map(whole, self.ranges[name])
        values = {"angle": self.name_of(name), "low": low, "high": high, "doubt": self._doubt(name)}
        return self.text("{angle} moved most, from {low}° to {high}°{doubt}", **values)

    def _doubt(self, name: str, time_s: float | None = None) -> str:
        """Return the error of an angle, and the other side at a time in seconds, as brackets after a value."""
        parts = [self._error(name, "°").strip()]
        other = f"{SIDES[side_of(name) == SIDES[0]]}_{name.partition('_')[2]}"
        value = math.nan if time_s is None else float(self.shown(other)[self.times.index(time_s)])
        if math.isfinite(value):
            parts.append(f"{self.text(side_of(other))} {whole(value)}°")
        return f" ({', '.join(filter(None, parts))})" if any(parts) else ""

    def _is_side_certain(self, name: str) -> bool:
        """Check whether only one side of an angle is counted, or both differ by more than the error of a difference."""
        joint = errors.joint_of(name)
        lowest = [
            min((bend.lowest[side][0] for bend in self.bends[joint] if side in bend.lowest), default=math.nan)
            for side in (f"{side}_{joint}_angle_rad" for side in SIDES)
        ]
        return not abs(lowest[0] - lowest[1]) <= errors.difference_error_deg(joint, self.model)

    @property
    def moments(self) -> list[Moment]:
        """The deepest moment of the repetitions, or both ends of the angle that moves most."""
        name = self.main_angle
        if name is None:
            caption = self.text("{time} s", time=number(self.times[0]))
            return [Moment(self.frames[0], "", math.nan, caption)]
        values = self.shown(name)
        if any(self.bends.values()):
            inside = [bend.lowest[name] for bends in self.bends.values() for bend in bends if name in bend.lowest]
            index = self.times.index(min(inside)[1])
            return [self._moment(index, name, "{angle} {value}°, at {time} s")]
        captions = "{angle}, smallest {value}°, at {time} s", "{angle}, largest {value}°, at {time} s"
        indices = [int(np.nanargmin(abs(values - end))) for end in self.ranges[name]]
        moments_by_index = {
            index: self._moment(index, name, caption) for index, caption in zip(indices, captions, strict=True)
        }
        return [moments_by_index[index] for index in sorted(moments_by_index)]

    def _moment(self, index: int, name: str, caption: str) -> Moment:
        value = float(self.shown(name)[index])
        words = {"angle": self.name_of(name), "value": whole(value), "time": number(self.times[index])}
        return Moment(self.frames[index], name, value, self.text(caption, **words))


def recording_of(
    name: str,
    model: str,
    frames: Sequence[Frame],
    counted: tuple[AngleLimits, ...] | None,
    *,
    person: int | None = None,
    convention: Convention = "straight",
    height_m: float | None = None,
    floor_m_per_px: float | None = None,
    size: tuple[int, int] | None = None,
    language: Language = "en",
) -> Recording:
    """Return the angles of one person, by default of the person who is in most frames.

    Without `counted`, the repetitions of one joint are counted, unless the person walks: knees, or hips where the knees
    do not repeat, or elbows where the hips do not repeat either. Where none repeats, the joint that moves most is
    examined. `height_m` is the body height for the speed of a gait, `floor_m_per_px` the size of a pixel on the floor
    in place of it. With the `size` of the video, width and height in pixels, joints that the image cuts count as not
    seen.

    Raises:
        InputError: There is no person, or none with this number.
    """
    all_bodies = [part for frame in frames for part in frame.parts_of(Body)]
    ids = Counter(body.id for body in all_bodies if body.id is not None)
    if not ids:
        raise InputError(f"{name}: no person found. The whole body should be in the image")
    if person is not None and person not in ids:
        raise InputError(f"--person {person}: {name} has {', '.join(f'#{number}' for number in sorted(ids))}")
    chosen = ids.most_common(1)[0][0] if person is None else person
    times = [frame.time or 0.0 for frame in frames]
    rate_hz = local_rates(times)
    bodies_by_id = [{part.id: part for part in frame.parts_of(Body)} for frame in frames]
    bodies = [by_id.get(chosen) for by_id in bodies_by_id]
    if size is not None:
        bodies = uncut_bodies(bodies, size, rate_hz)
    angles, tilts = track_angles(bodies, rate_hz)
    columns = dict(zip(ANGLES, angles.T, strict=True)) | _wrists(frames, chosen)
    expected = {
        angle: errors.angle_error_deg(model, errors.joint_of(angle), tilts[:, k]) for k, angle in enumerate(ANGLES)
    }
    asked = tuple(limits.measure for limits in counted or ())
    gait = find_gait(bodies, times, rate_hz, height_m=height_m, floor_m_per_px=floor_m_per_px)
    if counted is None:
        counted = () if gait is not None else _exercise(model, columns, times)
    return Recording(
        name,
        model,
        chosen,
        len(ids),
        list(frames),
        columns,
        expected,
        counted,
        convention,
        gait,
        bodies,
        language=language,
        asked=asked,
    )


def _exercise(model: str, angles: dict[str, FloatArray], times: Sequence[float]) -> tuple[AngleLimits, ...]:
    """Return the limits of the joint that an exercise repeats, left and right, or of the one that moves most.

    A movement within the error of a range is none.
    """
    candidates: dict[tuple[AngleLimits, ...], float] = {}
    for joint in EXERCISES:
        names = [f"{side}_{joint}_angle_rad" for side in SIDES]
        limits = tuple(AngleLimits(name) for name in names if np.isfinite(angles[name]).any())
        repeats = any(
            find_repetitions(np.radians(angles[limit.measure]), times, low_rad=limit.low_rad, high_rad=limit.high_rad)
            for limit in limits
        )
        if repeats:
            return limits
        if limits:
            known = [angles[limit.measure][np.isfinite(angles[limit.measure])] for limit in limits]
            span = max(float(np.ptp(np.percentile(values, errors.PERCENTILES))) for values in known)
            candidates[limits] = span if span > errors.range_error_deg(model, joint) else 0.0
    return max(candidates, key=candidates.__getitem__, default=())


def _wrists(frames: Sequence[Frame], person: int) -> dict[str, FloatArray]:
    """Return the angles (N,) of the wrists in degrees, if any are known."""
    rows = np.full((len(frames), len(WRISTS)), np.nan)
    for index, frame in enumerate(frames):
        for part, owner in with_owners(frame):
            if part.kind == "body" and part.id == person and owner is not part:
                values = instance_values(part, owner)
                rows[index] = [cast("float", values.get(name, math.nan)) for name in WRISTS]
    columns = zip(WRISTS, np.degrees(rows).T, strict=True)
    return {name: values for name, values in columns if np.isfinite(values).any()}


def _reason(values: FloatArray, times: FloatArray, before: int | None, after: int | None) -> str:
    """Return why a movement is not a repetition."""
    unseen = any(times[min(end, len(times) - 1)] - times[begin] > _MAX_GAP_S for begin, end in runs(np.isnan(values)))
    if unseen:
        return "the joint was not seen for more than 1 s"
    if before is None and after is None:
        return "the joint is never straighter than {straight}°"
    if before is None:
        return "the recording begins during the movement"
    if after is None:
        return "the recording ends before the joint is straight again"
    return "the movement is too short"


def side_of(name: str) -> str:
    """Return the side of an angle's name, or nothing.

    >>> side_of("left_knee_angle_rad"), side_of("trunk_lean_rad")
    ('left', '')
    """
    return name.split("_")[0] if name.startswith(("left_", "right_")) else ""


def words_of(name: str) -> str:
    """Return the name of an angle in words.

    >>> words_of("left_knee_angle_rad")
    'left knee'
    """
    return name.removesuffix("_rad").removesuffix("_angle").replace("_", " ")


def whole(value: float) -> str:
    """Return a number without digits and without the sign of zero."""
    return number(float(np.round(value)) + 0.0, 0)
