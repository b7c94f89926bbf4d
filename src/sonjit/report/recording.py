"""What the page of a report states about one person: ranges of motion, sides, repetitions and pictures."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from sonjit._util import FloatArray, InputError
from sonjit.report import errors
from sonjit.report.angles import ANGLES, runs, track_angles, uncut_bodies
from sonjit.report.conventions import Convention
from sonjit.report.documents import number
from sonjit.report.gait import Gait, find_gait
from sonjit.report.texts import Language, translated
from sonjit.results import Body, Frame
from sonjit.results.measures import Repetition, find_repetitions, instance_values, with_owners
from sonjit.runs.annotations import AngleLimits

COUNTED: Final = tuple(f"{side}_{joint}_angle_rad" for joint in ("elbow", "hip", "knee") for side in ("left", "right"))
"""Angles whose repetitions are counted by default."""
HEADINGS: Final = (
    "angle",
    "side",
    "seen %",
    "from °",
    "to °",
    "range °",
    "range with error °",
    "angle error °",
)
COUNT_HEADINGS: Final = ("angle", "begin s", "end s", "duration s", "most bent °")
INCOMPLETE_HEADINGS: Final = ("angle", "time s", "not counted because")
WRISTS: Final = tuple(f"{side}_wrist_{angle}_rad" for angle in ("flexion", "deviation") for side in ("left", "right"))
"""Angles without a measured error, which are drawn but not printed."""
_PAIRED = ("elbow", "shoulder", "hip", "knee", "ankle")
_STRAIGHT_DEG = {"elbow": 180.0, "hip": 180.0, "knee": 180.0, "ankle": 90.0}
"""Angle that is 0 in the clinical convention. The other angles are the same in both."""
_MIN_SEEN = 0.5  # minimum share of the person's frames in which both sides of a joint are seen to compare them
_AXIS_DEG = 90.0  # angle that an axis contains, as well as 0
_AXIS_MARGIN = 0.04  # space above the highest and below a negative angle, relative to the axis
_MAX_GAP_S = 1.0  # longest gap inside a repetition
_SIDES: Final = (
    "One camera sees one side of the body better than the other, and the hidden side can have larger errors. Film the "
    "movement from both sides before you conclude that left and right differ. Even then, a difference below its 95 % "
    "error proves nothing."
)
_RULE_TIMES: Final = (
    "A repetition begins and ends where the angle passes the first limit, which joints of the same movement do at "
    "different times."
)


def axis_ends(curves: Iterable[FloatArray]) -> tuple[float, float]:
    """Return the ends of an axis of angles (N,) in degrees, wide enough that errors do not look like movements."""
    known = np.concatenate([[0.0, _AXIS_DEG], *(values[np.isfinite(values)] for values in curves)])
    margin = _AXIS_MARGIN * float(np.ptp(known))
    return float(known.min()) - margin * bool(known.min() < 0), float(known.max()) + margin


@dataclass(frozen=True)
class Recording:
    """Angles of one person in a video."""

    name: str  # name of the video
    model: str  # model of the body
    person: int  # id of the person
    people: int  # number of people that were tracked
    frames: list[Frame]  # all frames
    angles: dict[str, FloatArray]  # filtered angles in degrees by name (N,), 180 is straight; NaN where unknown
    errors_deg: dict[str, float]  # expected errors by name
    counted: tuple[AngleLimits, ...]  # angles whose repetitions are counted
    convention: Convention = "straight"
    gait: Gait | None = None  # of a person who walks across the image
    bodies: Sequence[Body | None] = ()  # the person in each frame, or None
    language: Language = "en"
    pictured: tuple[str, ...] = ()  # names of the angles of which pictures show one; empty for those of all limbs

    def text(self, text: str, **values: object) -> str:
        """Return a text in the language of the page, with values in its braces."""
        return translated(self.language, text, **values)

    def name_of(self, name: str) -> str:
        """Return the name of an angle in the language of the page."""
        side = side_of(name)
        joint = self.text(errors.joint_of(name))
        return f"{self.text(side)} {joint}" if side else joint

    @property
    def times(self) -> list[float]:
        """Times of the frames in seconds."""
        return [frame.time or 0.0 for frame in self.frames]

    def shown(self, name: str) -> FloatArray:
        """Return an angle (N,) in degrees in the convention of the page."""
        zero = _STRAIGHT_DEG.get(errors.joint_of(name))
        return self.angles[name] if zero is None or self.convention == "straight" else zero - self.angles[name]

    @property
    def plots(self) -> dict[str, dict[str, FloatArray]]:
        """Known angles in degrees by title and side."""
        found: dict[str, dict[str, FloatArray]] = {}
        for name in self.angles:
            side = side_of(name)
            if np.isfinite(self.angles[name]).any():
                found.setdefault(errors.joint_of(name), {})[side] = self.shown(name)
        return found

    def legend(self, joint: str, side: str) -> str:
        """Return the words of a curve, with the mean error of the angle where it is known."""
        name = next(each for each in self.angles if (errors.joint_of(each), side_of(each)) == (joint, side))
        words, error = self.text(side or joint), self.errors_deg.get(name, math.nan)
        return f"{words} ± {_whole(error)}°" if math.isfinite(error) else words

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Ends of the range of motion in degrees by name, the 2nd and 98th percentile of the frames seen."""
        known = {name: self.shown(name)[np.isfinite(self.angles[name])] for name in self.angles if name not in WRISTS}
        ends = {name: np.percentile(values, errors.PERCENTILES) for name, values in known.items() if len(values)}
        return {name: (float(low), float(high)) for name, (low, high) in ends.items()}

    @property
    def spans(self) -> dict[str, float]:
        """Sizes of the ranges in degrees by name: the differences of both ends as the page prints them."""
        return {name: float(np.round(high) - np.round(low)) for name, (low, high) in self.ranges.items()}

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Rows of the table of ranges."""
        rows: list[tuple[str, ...]] = []
        for name, (low, high) in self.ranges.items():
            joint, side = errors.joint_of(name), side_of(name)
            error = errors.range_error_deg(self.model, joint)
            span = self.spans[name]
            numbers = [_whole(value) for value in (low, high, span)]
            rows.append(
                (
                    self.text(joint),
                    side and self.text(side),
                    _whole(100 * self._seen(name)),
                    *numbers,
                    self._interval(span, error),
                    _whole(self.errors_deg[name]),
                )
            )
        return rows

    def _seen(self, name: str) -> float:
        """Return the share of the person's frames in which an angle is known."""
        return min(int(np.isfinite(self.angles[name]).sum()) / self.frames_seen, 1.0)

    @property
    def frames_seen(self) -> int:
        """Number of frames in which the person was found."""
        return sum(body is not None for body in self.bodies)

    @property
    def comparisons(self) -> list[str]:
        """Sentences that compare the ranges of left and right with the error of this difference."""
        sentences: list[str] = []
        for joint in _PAIRED:
            left, right = (self.spans.get(f"{side}_{joint}_angle_rad") for side in ("left", "right"))
            if left is None or right is None:
                continue
            seen = {side: self._seen(f"{side}_{joint}_angle_rad") for side in ("left", "right")}
            rarer = min(seen, key=seen.__getitem__)
            if seen[rarer] < _MIN_SEEN:
                few = "{joint}: the {side} side was seen in {share} % of the images, too few to compare."
                share = _whole(100 * seen[rarer])
                sentences.append(self.text(few, joint=self.text(joint), side=self.text(rarer), share=share))
                continue
            error = errors.difference_error_deg(joint, self.model)
            sentences.append(self._compared(joint, left - right, error))
        return [*sentences, self.text(_SIDES)] if sentences else []

    def _compared(self, joint: str, difference: float, error: float) -> str:
        """Return in words whether two ranges of motion differ, in degrees."""
        less = (
            "{joint}: the ranges of left and right differ by {size}°. This is less than the 95 % error of such a "
            "difference, {error}°, which covers the errors of both ranges. Left and right may be equal or different."
        )
        more = (
            "{joint}: the ranges of left and right differ by {size}°. This is more than the 95 % error of such a "
            "difference, {error}°. The movement or a hidden side may be the cause."
        )
        sentence = less if abs(difference) <= error else more
        return self.text(sentence, joint=self.text(joint), size=_whole(abs(difference)), error=_whole(error))

    def _interval(self, value: float, error: float) -> str:
        """Return the interval of a range of motion in degrees with its error, or a dash if the error is not known."""
        if not math.isfinite(error):
            return "–"
        return self.text("{low} to {high}", low=_whole(max(value - error, 0)), high=_whole(value + error))

    @property
    def counting(self) -> list[str]:
        """Sentences that state which movement counts as a repetition."""
        names: dict[tuple[float, float], list[str]] = {}
        for limits in self.counted:
            names.setdefault((limits.low_rad, limits.high_rad), []).append(limits.measure)
        sentences: list[str] = []
        for ends, measures in names.items():
            bent, straight = (_in_convention(math.degrees(end), measures[0], self.convention) for end in ends)
            shown = ", ".join(map(self.name_of, measures))
            rule = "{angles}: a repetition goes from {straight}° to {bent}° or further, and back."
            sentences.append(self.text(rule, angles=shown, straight=_whole(straight), bent=_whole(bent)))
        return [*sentences, self.text(_RULE_TIMES)] if sentences else []

    @property
    def repetitions(self) -> list[tuple[str, ...]]:
        """Rows of the table of repetitions."""
        rows: list[tuple[str, ...]] = []
        for limits in self.counted:
            for found in self._found(limits):
                times = found.begin_s, found.end_s, found.end_s - found.begin_s
                lowest = _in_convention(math.degrees(found.lowest_rad), limits.measure, self.convention)
                rows.append((self.name_of(limits.measure), *map(number, times), _whole(lowest)))
        return rows

    @property
    def incomplete(self) -> list[tuple[str, ...]]:
        """Rows of the bent positions that are not counted, with the reason."""
        rows: list[tuple[str, ...]] = []
        times = np.array(self.times)
        for limits in self.counted:
            values = np.radians(self.angles.get(limits.measure, np.full(len(times), np.nan)))
            counted = self._found(limits)
            straight = np.flatnonzero(values >= limits.high_rad)
            ends = np.searchsorted(straight, [begin for begin, _ in runs(values <= limits.low_rad)])
            for at in sorted(set(ends.tolist())):  # one row between two straight positions
                before = int(straight[at - 1]) if at else None
                after = int(straight[at]) if at < len(straight) else None
                part = slice(0 if before is None else before, None if after is None else after + 1)
                lowest = part.start + int(np.nanargmin(values[part]))
                if any(found.begin_s <= times[lowest] <= found.end_s for found in counted):
                    continue
                straightest = _in_convention(math.degrees(limits.high_rad), limits.measure, self.convention)
                reason = self.text(_reason(values[part], times[part], before, after), straight=_whole(straightest))
                rows.append((self.name_of(limits.measure), number(times[lowest]), reason))
        return rows

    def _found(self, limits: AngleLimits) -> list[Repetition]:
        values = self.angles.get(limits.measure)
        if values is None:
            return []
        return find_repetitions(np.radians(values), self.times, low_rad=limits.low_rad, high_rad=limits.high_rad)

    @property
    def extremes(self) -> list[tuple[Frame, str]]:
        """Frames of both ends of the angle that moves most, of those often seen, with a caption each."""
        limbs = {name: span for name, span in self.spans.items() if errors.joint_of(name) in _PAIRED[:4]}
        limbs = {name: limbs[name] for name in self.pictured if name in limbs} or limbs
        moving = {name: span for name, span in limbs.items() if self._seen(name) >= _MIN_SEEN} or limbs
        if not moving:
            return [(self.frames[0], self.text("{time} s", time=number(self.times[0])))]
        name = max(moving, key=moving.__getitem__)
        values = self.shown(name)
        found: dict[int, str] = {}
        captions = "{angle}, smallest {value}°, at {time} s", "{angle}, largest {value}°, at {time} s"
        for end, caption in zip(self.ranges[name], captions, strict=True):
            index = int(np.nanargmin(abs(values - end)))
            shown = {"value": _whole(float(values[index])), "time": number(self.times[index])}
            found[index] = self.text(caption, angle=self.name_of(name), **shown)
        return [(self.frames[index], caption) for index, caption in sorted(found.items())]


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

    Without `counted`, repetitions of the elbows, hips and knees that were seen are counted, unless the person walks.
    `height_m` is the body height for the speed of a gait, `floor_m_per_px` the size of a pixel on the floor in place of
    it. With the `size` of the video, width and height in pixels, joints that the image cuts count as not seen.

    Raises:
        InputError: There is no person, or none with this number.
    """
    parts = [part for frame in frames for _, part in frame.instances() if isinstance(part, Body)]
    ids = Counter(part.id for part in parts if part.id is not None)
    if not ids:
        raise InputError(f"{name}: no person found")
    if person is not None and person not in ids:
        raise InputError(f"--person {person}: {name} has {', '.join(f'#{each}' for each in sorted(ids))}")
    chosen = ids.most_common(1)[0][0] if person is None else person
    times = [frame.time or 0.0 for frame in frames]
    steps = np.diff(times)
    rate_hz = 1 / float(np.median(steps)) if len(steps) and np.median(steps) > 0 else 30.0
    bodies = _bodies_of(frames, chosen)
    if size is not None:
        bodies = uncut_bodies(bodies, size, rate_hz)
    angles, tilts = track_angles(bodies, rate_hz)
    columns = dict(zip(ANGLES, angles.T, strict=True)) | _wrists(frames, chosen)
    expected = {
        angle: errors.expected_error_deg(model, errors.joint_of(angle), tilts[:, k]) for k, angle in enumerate(ANGLES)
    }
    pictured = tuple(limits.measure for limits in counted or ())
    gait = find_gait(bodies, times, rate_hz, height_m=height_m, floor_m_per_px=floor_m_per_px)
    if counted is None:
        seen = [angle for angle in COUNTED if np.isfinite(columns[angle]).any()]
        counted = () if gait is not None else tuple(map(AngleLimits, seen))
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
        pictured=pictured,
    )


def _bodies_of(frames: Sequence[Frame], person: int) -> list[Body | None]:
    """Return the body of a person in each frame, or None."""
    found = [{part.id: part for _, part in frame.instances() if isinstance(part, Body)} for frame in frames]
    return [bodies.get(person) for bodies in found]


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


def _in_convention(value: float, name: str, convention: Convention) -> float:
    zero = _STRAIGHT_DEG.get(errors.joint_of(name))
    return value if zero is None or convention == "straight" else zero - value


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


def _whole(value: float) -> str:
    """Return a number without digits and without the sign of zero."""
    return number(float(np.round(value)) + 0.0, 0)
