"""Custom motions, learned from a few examples: the way of the palm and the fingertips, matched by dynamic time warping.

A motion is a sequence of steps of one length, so that neither its speed nor the frame rate matters, in hand lengths, so
that the distance to the camera does not; left hands are mirrored into right ones. Its direction in the image counts. It
is found in a stream without cutting that into pieces first (Sakurai, Faloutsos, Yamamuro 2007, Stream monitoring under
the time warping distance).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, FloatArray, InputError, IntArray, JsonObject, files
from sonjit.gestures.classifier import PALM
from sonjit.results import Frame, Hand, Handedness
from sonjit.results.measures import hand_length_m

_TIPS: Final = [4, 8, 12, 16, 20]
_POINTS: Final = 1 + len(_TIPS)
STEP_FEATURES: Final = 2 * 2 * _POINTS
"""Number of features of a step: the movement of the palm centre and fingertips, and their positions."""

_STEP: Final = 0.12  # mean movement of the points per step in hand lengths; noise is smaller
_MOST_STEPS: Final = 12  # maximum number of steps in a frame
_SHAPE_WEIGHT: Final = 0.5  # weight of the shape of the hand relative to its movement in the cost of a step
_SMOOTH_S: Final = 0.03
LENGTH_S: Final = 0.5  # time constants of the points, and of the hand's length, which noise and foreshortening change
GAP_S: Final = 0.25  # maximum gap in the path of a hand. After a longer gap the path restarts.
_LEAST_STEPS: Final = 5  # minimum number of steps of an example
_REST_S: Final = 0.25  # minimum rest between two examples of a recording, and after the last one
_SETTLE_S: Final = 0.12  # delay of an event. A better match within this time replaces it.
_AS_WELL: Final = 0.05  # share of the reach by which a later end may match worse and still continue the motion
_REACH: Final = (0.06, 0.12, 0.2)
"""Minimum, default and maximum of the mean step cost at which a path is another motion."""
_FEW, _FEW_REACH = 0.3, 0.1
"""Minimum reach times the number of examples, and its maximum. Few examples of one person differ too little."""
_LOOSE: Final = 2.0  # maximum ratio of the cost to the nearest example and the cost between examples
_ARRAYS: Final = ("motion_names", "motion_steps", "motion_lengths", "motion_of", "motion_reaches")
"""Names of the arrays of motions in a file."""
_APART: Final = 0.8  # maximum ratio of the cost to the cost of the nearest example of another motion


@dataclass(frozen=True, slots=True)
class GestureSegment:
    """A gesture of one hand with its start and end."""

    name: str  # name of the gesture
    start: float  # start in seconds
    end: float  # end in seconds
    score: float  # score, 0..1
    id: int  # id of the hand
    handedness: Handedness  # side of the hand
    moving: bool  # True for a motion, False for a hand shape

    def to_dict(self) -> JsonObject:
        """Return the segment as plain JSON types."""
        times: JsonObject = {"start": round(self.start, 4), "end": round(self.end, 4)}
        return asdict(self) | times | {"score": round(self.score, 3)}


@dataclass(frozen=True, eq=False)
class MotionRecording:
    """Examples of one motion."""

    name: str  # name of the motion
    # examples (T, 24) float16: in T steps the movement of the palm and fingertips, and their positions
    ways: tuple[NDArray[np.float16], ...]

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.ways)

    @classmethod
    def of(cls, name: str, frames: Iterable[Frame], samples: int | None = None) -> Self:
        """Record the tracked hands of a video or camera, cut where they rest for a quarter of a second.

        Args:
            name: Name of the motion.
            frames: Frames, which are read until there are enough samples.
            samples: Number of examples to record; None for all.

        Raise InputError if no hand moves, or the frames are not of a video.
        """
        paths: dict[tuple[int, Handedness], _Path] = {}
        pieces: dict[tuple[int, Handedness], list[list[_Step]]] = {}
        ways: list[list[_Step]] = []
        for frame in frames:
            for hand in frame.hands:
                time_s = frame.time
                if time_s is None or hand.id is None:
                    raise InputError(f"{name}: a motion is learned from a video or camera, not from images")
                key = hand.id, hand.handedness
                path, pieces_of_hand = paths.setdefault(key, _Path()), pieces.setdefault(key, [[]])
                last_s = pieces_of_hand[-1][-1].end_s if pieces_of_hand[-1] else math.inf
                steps = path.follow(hand, time_s)
                if path.was_lost or (steps and steps[0].start_s - last_s > _REST_S):
                    pieces_of_hand.append([])
                pieces_of_hand[-1] += steps
            ways = [item for pieces_of_hand in pieces.values() for item in pieces_of_hand if len(item) >= _LEAST_STEPS]
            rested = [path for path in ways if frame.time is not None and frame.time - path[-1].end_s > _REST_S]
            if samples is not None and len(rested) >= samples:
                ways = rested
                break
        ways = ways[:samples]
        if not ways:
            raise InputError(f"{name}: no hand moves by a hand's length. Use a video in which a hand makes the motion")
        return cls(name, tuple(np.stack([step.features for step in path]).astype(np.float16) for path in ways))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], path: Path) -> Self:
        """Create a recording from the arrays of a file of `save`: steps (T, 24) in hand lengths, and their number.

        Raise InputError for other arrays.
        """
        return cls(str(arrays["name"]), _ways(arrays["steps"], arrays["lengths"], path))

    def save(self, path: Path) -> None:
        """Write the recording as an `.npz` file."""
        with files.atomic_file(path) as draft:
            lengths = np.array([len(path) for path in self.ways])
            np.savez_compressed(draft, name=np.array(self.name), steps=np.concatenate(self.ways), lengths=lengths)


@dataclass(frozen=True, eq=False)
class CustomMotions:
    """Motions learned from recordings."""

    names: tuple[str, ...]  # names of the motions, without duplicates
    ways: tuple[NDArray[np.float16], ...]  # (T, 24) steps of each example
    motion: IntArray  # (W,) the index of each example's name
    reaches: FloatArray  # (C,) mean step cost at which a path is as likely no motion

    @classmethod
    def learn(cls, recordings: Sequence[MotionRecording]) -> Self:
        """Learn motions from recordings. Without recordings there are no motions."""
        names = tuple(dict.fromkeys(recording.name for recording in recordings))
        ways = [(names.index(recording.name), path) for recording in recordings for path in recording.ways]
        motion = np.array([number for number, _ in ways], np.int64)
        costs = np.array([_Warping([other for _, other in ways]).lowest_costs(path) for _, path in ways])
        costs = costs.reshape(len(ways), len(ways)) + np.diag(np.full(len(ways), np.inf))
        reaches: list[float] = []
        for number in range(len(names)):
            is_of_motion = motion == number
            nearest = costs[is_of_motion][:, is_of_motion].min(1, initial=np.inf)
            nearest = nearest[np.isfinite(nearest)]
            reach = _REACH[1]
            if len(nearest):
                least = max(_REACH[0], min(_FEW / len(nearest), _FEW_REACH))
                reach = max(_LOOSE * float(np.quantile(nearest, 0.9)), least)
            others = float(costs[~is_of_motion][:, is_of_motion].min(initial=np.inf))
            reaches.append(max(0.5 * _REACH[0], min(reach, _REACH[2], _APART * others)))
        return cls(names, tuple(path for _, path in ways), motion, np.array(reaches))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], path: Path) -> Self:
        """Create motions from the arrays of a gesture file, such as steps (T, 24) in hand lengths, if there are any.

        Raise InputError for other forms.
        """
        if "motion_names" not in arrays:
            return cls((), (), np.zeros(0, np.int64), np.zeros(0))
        if missing := [name for name in _ARRAYS if name not in arrays]:
            raise InputError(f"{path}: its motions lack {missing[0]!r}. Train again from the recordings")
        names, steps, lengths, motion, reaches = (arrays[name] for name in _ARRAYS)
        if (names.dtype.kind, motion.dtype.kind, reaches.dtype.kind) != ("U", "i", "f"):
            raise InputError(f"{path}: its motions are not of names and numbers. Train again from the recordings")
        ways = _ways(steps, lengths, path)
        if (
            names.ndim != 1
            or reaches.shape != names.shape
            or not (reaches > 0).all()
            or motion.shape != (len(ways),)
            or set(motion.tolist()) != {*range(len(names))}
        ):
            raise InputError(f"{path}: its motions do not fit each other. Train again from the recordings")
        return cls(tuple(map(str, names)), ways, motion.astype(np.int64), reaches.astype(np.float64))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that `from_arrays` reads; empty without motions."""
        if not self.names:
            return {}
        steps, lengths = np.concatenate(self.ways), np.array([len(path) for path in self.ways])
        return dict(zip(_ARRAYS, (np.array(self.names), steps, lengths, self.motion, self.reaches), strict=True))

    def classify(self, path: NDArray[np.float16]) -> tuple[str, float] | None:
        """Return the motion of an example (T, 24) and its score, or None."""
        if not self.ways:
            return None
        shares = _Warping(self.ways).lowest_costs(path) / self.reaches[self.motion]
        best = int(shares.argmin())
        return (self.names[self.motion[best]], 1 - float(shares[best]) / 2) if shares[best] < 1 else None


class MotionSpotter:
    """Find custom motions of tracked hands, frame by frame.

    `motions`: motions to find; `forget_s`: seconds without a detection after which a hand is forgotten.

    Raises:
        InputError: The duration is not positive.

    Example:
        >>> from pathlib import Path
        >>> from sonjit.gestures import LearnedGestures
        >>> spotter = MotionSpotter(LearnedGestures.load(Path("asl")).motions)
        >>> for frame in sonjit.track("clip.mp4", "hands"):
        ...     for found in spotter(frame.hands, frame.time):
        ...         print(found.name, found.start, found.end, found.id)
    """

    def __init__(self, motions: CustomMotions, forget_s: float = 0.5) -> None:
        if not forget_s > 0:
            raise InputError(f"MotionSpotter: forget_s={forget_s}: give more than 0 seconds")
        self._motions, self._forget_s = motions, forget_s
        self._time_s = -math.inf
        self._searches: dict[tuple[int, Handedness], _HandSearch] = {}

    def reset(self) -> None:
        """Forget every hand before another stream."""
        self._searches.clear()
        self._time_s = -math.inf

    def __call__(self, hands: Sequence[Hand], time_s: float | None) -> list[GestureSegment]:
        """Return the motions that ended shortly before this frame.

        Args:
            hands: All hands of the frame, with their ids.
            time_s: Time of the frame in seconds. It never decreases between calls.

        Raise InputError if a hand has no id, the frame has no time, or the time decreases.
        """
        self._time_s = time_s = time_of(hands, time_s, self._time_s)
        if not self._motions.names:
            return []
        for hand in hands:
            assert hand.id is not None
            search = self._searches.setdefault(
                (hand.id, hand.handedness), _HandSearch(self._motions, (hand.id, hand.handedness))
            )
            search.follow(hand, time_s)
        motions = [item for search in self._searches.values() if (item := search.classify(time_s)) is not None]
        for key in [key for key, search in self._searches.items() if time_s - search.path.time_s > self._forget_s]:
            del self._searches[key]
        return motions

    def finish(self) -> list[GestureSegment]:
        """Return the motions that ended just before the end of the video."""
        motions = [search.classify(math.inf) for search in self._searches.values()]
        self.reset()
        return [item for item in motions if item is not None]


class _Step(NamedTuple):
    start_s: float
    end_s: float
    features: Float32Array


class _Path:
    """Path of one hand, cut into steps."""

    _length: float  # of the hand
    _last: FloatArray  # points at the last step
    _last_s: float
    _smooth: FloatArray

    def __init__(self) -> None:
        self.time_s = -math.inf
        self.was_lost = True

    def follow(self, hand: Hand, time_s: float) -> list[_Step]:
        """Return the steps that end with this frame, none while the hand rests or a fingertip is unknown."""
        points = hand.gesture_points.keypoints.astype(np.float64)
        flat = np.concatenate([points[PALM, :2].mean(0, keepdims=True), points[_TIPS, :2]])
        length, elapsed = float(hand_length_m(points)), time_s - self.time_s
        if not (length > 0 and elapsed > 0 and np.isfinite(flat).all()):
            return []
        if hand.looks_left:
            flat = flat * [-1, 1]
        self.time_s = time_s
        self.was_lost = elapsed > GAP_S
        if self.was_lost:  # or seen for the first time
            self._length = length
            self._smooth = flat
            self._last = flat
            self._last_s = time_s
            return []
        self._length += (length - self._length) * -math.expm1(-elapsed / LENGTH_S)
        self._smooth = self._smooth + (flat - self._smooth) * -math.expm1(-elapsed / _SMOOTH_S)
        path = (self._smooth - self._last) / self._length
        far = math.sqrt(float((path * path).sum()) / _POINTS)
        count = min(int(far / _STEP), _MOST_STEPS)
        if count == 0:
            return []
        shape_now = (self._smooth - self._smooth[0]) / self._length
        features = np.concatenate([path / far, shape_now]).ravel().astype(np.float32)
        begin_s = max(self._last_s, time_s - elapsed)  # the hand rested before
        each_s = (time_s - begin_s) / count
        steps = [_Step(begin_s + n * each_s, begin_s + (n + 1) * each_s, features) for n in range(count)]
        self._last, self._last_s = self._smooth, time_s
        return steps


class _Warping:
    """Dynamic time warping of a stream of steps against examples, which may begin at any step."""

    def __init__(self, ways: Sequence[NDArray[np.float16]]) -> None:
        self._lengths = np.array([len(path) for path in ways])
        self._steps = np.zeros((len(ways), self._lengths.max(), STEP_FEATURES), np.float32)
        for row, path in zip(self._steps, ways, strict=True):
            row[: len(path)] = path
        self._rows = np.arange(len(ways))
        self.reset()

    def reset(self) -> None:
        """Forget all steps."""
        self._costs = np.full(self._steps.shape[:2], np.inf)
        self._counts, self._starts = np.zeros((2, *self._steps.shape[:2]))

    def follow(self, step: Float32Array, start_s: float) -> tuple[FloatArray, FloatArray]:
        """Return the mean step cost (W,) of each example that ends with this step, and its start (W,) in seconds."""
        half = STEP_FEATURES // 2
        ahead = 1 - self._steps[..., :half] @ step[:half] / _POINTS
        shape = ((self._steps[..., half:] - step[half:]) ** 2).sum(-1) / _POINTS
        cost = ahead / 2 + _SHAPE_WEIGHT * np.sqrt(shape)
        # a step of an example follows itself, the previous step, or with twice the cost the one before that
        come, leap = _shift(self._costs, 1, 0.0) + cost, _shift(self._costs, 2, np.inf) + 2 * cost
        costs = np.stack([come, self._costs + cost, leap])
        counts = np.stack([_shift(self._counts, 1, 0.0) + 1, self._counts + 1, _shift(self._counts, 2, 0.0) + 2])
        starts = np.stack([_shift(self._starts, 1, start_s), self._starts, _shift(self._starts, 2, start_s)])
        best = costs.argmin(0)[None]
        self._costs = np.take_along_axis(costs, best, 0)[0]
        self._counts = np.take_along_axis(counts, best, 0)[0]
        self._starts = np.take_along_axis(starts, best, 0)[0]
        ends = self._lengths - 1
        return (self._costs / self._counts)[self._rows, ends], self._starts[self._rows, ends]

    def lowest_costs(self, path: NDArray[np.float16]) -> FloatArray:
        """Return the lowest mean step cost (W,) of each example anywhere in steps (T, 24), in hand lengths."""
        self.reset()
        costs = [self.follow(step, 0.0)[0] for step in path.astype(np.float32)]
        return np.min(costs, axis=0) if costs else np.full(len(self._lengths), np.inf)


def _shift(values: FloatArray, by: int, before: float) -> FloatArray:
    shifted = np.full_like(values, before)
    shifted[:, by:] = values[:, :-by]
    return shifted


class _HandSearch:
    """Search for the motions of one hand."""

    def __init__(self, motions: CustomMotions, hand: tuple[int, Handedness]) -> None:
        self.path = _Path()
        self._motions, self._hand = motions, hand
        self._warping = _Warping(motions.ways)
        self._best: tuple[float, GestureSegment] | None = None

    def follow(self, hand: Hand, time_s: float) -> None:
        steps = self.path.follow(hand, time_s)
        if self.path.was_lost:
            self._warping.reset()
        for step in steps:
            costs, starts = self._warping.follow(step.features, step.start_s)
            shares = costs / self._motions.reaches[self._motions.motion]
            best = int(shares.argmin())
            share = float(shares[best])
            least = 1.0 if self._best is None else self._best[0]
            if share < min(1.0, least + _AS_WELL):
                name, start_s = self._motions.names[self._motions.motion[best]], float(starts[best])
                segment = GestureSegment(name, start_s, step.end_s, 1 - share / 2, *self._hand, moving=True)
                self._best = min(share, least), segment

    def classify(self, time_s: float) -> GestureSegment | None:
        """Return the best match once it has not improved for a while."""
        if self._best is None or time_s - self._best[1].end < _SETTLE_S:
            return None
        segment = self._best[1]
        self._best = None
        self._warping.reset()  # the next motion begins later
        return segment


def _ways(steps: NDArray[Any], lengths: NDArray[Any], path: Path) -> tuple[NDArray[np.float16], ...]:
    """Return the steps of each example."""
    is_valid = steps.ndim == 2 and steps.shape[1] == STEP_FEATURES and lengths.ndim == 1
    is_valid = is_valid and steps.dtype.kind == "f" and lengths.dtype.kind == "i" and len(lengths) > 0
    is_valid = is_valid and bool(((lengths > 0) & (lengths <= len(steps))).all())  # their sum has no overflow
    if not is_valid or lengths.sum() != len(steps):
        raise InputError(f"{path}: contains steps {steps.shape} of {lengths.shape} examples, not (T, {STEP_FEATURES})")
    ends = lengths.cumsum().tolist()
    return tuple(
        steps[end - length : end].astype(np.float16) for end, length in zip(ends, lengths.tolist(), strict=True)
    )


def time_of(hands: Sequence[Hand], time_s: float | None, last_s: float) -> float:
    """Return the time of a frame. Raise InputError if a hand has no id, or the time is missing or decreases."""
    if time_s is None or any(hand.id is None for hand in hands):
        raise InputError("motions require a video or camera: hands with ids, and the time of each frame")
    if time_s < last_s:
        raise InputError(f"time runs backwards: {time_s} s after {last_s} s; reset() before another video")
    return time_s
