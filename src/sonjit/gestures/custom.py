"""Gestures that are learned from examples, and the gestures that come with Sonjit by name."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, FloatArray, InputError, IntArray, RealArray, data_files, files
from sonjit.gestures import classifier, motion_finders
from sonjit.gestures.custom_motions import CustomMotions, GestureSegment, MotionRecording, MotionSpotter
from sonjit.results import Frame, Gesture, Hand, Handedness

# `python benchmarks/gestures.py --taught` measures gestures that are learned with these values.
_MAX_EXAMPLES: Final = 5  # maximum number of examples that count. More are of the same few people and views.
_MIN_EVIDENCE: Final = 1.0  # minimum log likelihood ratio of a gesture to any other pose
_SHARPNESS: Final = 0.5  # slope of the score over the evidence
_MAX_NAME_LENGTH: Final = 40  # maximum number of characters of the name of a gesture
_MIN_DURATION_S: Final = 0.2  # minimum duration of a static gesture. Shorter ones occur on the way to another gesture.


@dataclass(frozen=True, eq=False)
class GestureRecording:
    """Recording of hands that all make one gesture."""

    name: str  # name of the gesture
    points: RealArray  # keypoints (N, 2, 21, 3) float16 of the image and in metres, see `features.aligned`

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.points)

    @classmethod
    def of(cls, name: str, hands: Sequence[Hand]) -> Self:
        """Create a recording from detected hands with known keypoints. Raise InputError if there are none."""
        hands = [hand for hand in hands if all(np.isfinite(points).all() for points in hand.gesture_points)]
        if not hands:
            raise InputError(f"{name}: no hand found. Use an image or video that shows one")
        points = np.stack([np.stack(hand.gesture_points) for hand in hands]).astype(np.float32)
        return cls(name, classifier.aligned(points, np.array([hand.looks_left for hand in hands])).astype(np.float16))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], path: Path) -> Self:
        """Create a recording from the arrays of a file, such as keypoints (N, 21, 3) in pixels.

        Raise InputError for other arrays.
        """
        if not arrays.keys() >= {"name", "points"}:
            raise InputError(f"{path}: not a recording of a gesture. Use sonjit gestures record")
        name, points = str(arrays["name"]), arrays["points"]
        if points.shape[1:] != (2, classifier.KEYPOINTS, 3) or not len(points) or points.dtype.kind != "f":
            given = f"{points.dtype} points {points.shape}"
            raise InputError(f"{path}: contains {given}, not numbers (N, 2, {classifier.KEYPOINTS}, 3)")
        if not np.isfinite(points).all():
            raise InputError(f"{path}: contains points that are not finite. Record again")
        return cls(name, points)

    def save(self, path: Path) -> None:
        """Write the recording as an `.npz` file."""
        with files.atomic_file(path) as draft:
            np.savez_compressed(draft, name=np.array(self.name), points=self.points)

    def embedding(self) -> Float32Array:
        """Return the embedding (N, E) of each hand."""
        points = self.points.astype(np.float32)
        return classifier.load_gestures().whiten(
            classifier.gesture_features(points[:, 0], points[:, 1], np.zeros(len(points), np.bool_))
        )


@dataclass(frozen=True, eq=False)
class CustomGestures:
    """Gestures learned from recordings."""

    names: tuple[str, ...]  # names of the gestures, without duplicates
    means: FloatArray  # mean embeddings (C, E) of their examples
    counts: FloatArray  # number (C,) of examples of each gesture

    @classmethod
    def learn(cls, recordings: Sequence[GestureRecording]) -> Self:
        """Learn from recordings of gestures. Raise InputError if there are none."""
        names = tuple(dict.fromkeys(recording.name for recording in recordings))
        if not names:
            raise InputError("no gesture to learn. First record one with sonjit gestures record NAME INPUT")
        embeddings_of_names = [
            np.concatenate([recording.embedding() for recording in recordings if recording.name == name])
            for name in names
        ]
        return cls(
            names,
            np.stack([embeddings_of_name.mean(0, np.float64) for embeddings_of_name in embeddings_of_names]),
            np.array([float(len(embeddings_of_name)) for embeddings_of_name in embeddings_of_names]),
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], path: Path) -> Self:
        """Create the gestures from the arrays of a file, such as means (C, E) without a unit.

        Raise InputError for other arrays.
        """
        if not arrays.keys() >= {"names", "means"} or arrays["names"].ndim != 1:
            raise InputError(f"{path}: no custom gestures. Use sonjit gestures train")
        names, means = tuple(map(str, arrays["names"])), arrays["means"]
        if "counts" not in arrays or not np.array_equal(arrays.get("spread", ()), classifier.load_gestures().spread):
            raise InputError(f"{path}: trained for another version. Train again from the recordings")
        counts = arrays["counts"]
        expected = (len(names), arrays["spread"].size), (len(names),)
        if (means.shape, counts.shape) != expected or {means.dtype.kind, counts.dtype.kind} != {"f"}:
            shapes_given = f"{means.dtype} means {means.shape} and {counts.dtype} counts {counts.shape}"
            raise InputError(f"{path}: contains {shapes_given}. Train again")
        if not np.isfinite(means).all() or not (counts > 0).all():
            raise InputError(f"{path}: contains means that are not finite, or no hands. Train again")
        return cls(names, means.astype(np.float64), counts.astype(np.float64))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that `from_arrays` reads."""
        means, counts = self.means.astype(np.float32), self.counts.astype(np.float32)
        spread = classifier.load_gestures().spread  # identifies the embedding
        return {"names": np.array(self.names), "means": means, "counts": counts, "spread": spread}

    def evidence(self, embeddings: RealArray) -> FloatArray:
        """Return the log likelihood ratios (N, C) of embeddings (N, E), without a unit.

        They compare each gesture with any other pose.
        """
        spread = classifier.load_gestures().spread.astype(np.float64)
        counts = np.minimum(self.counts, _MAX_EXAMPLES)[:, None]
        unsure = spread / (1 + counts * spread)  # variance of the estimated mean of the gesture
        hands = embeddings[:, None].astype(np.float64)
        log_spread = np.log1p(spread) + hands**2 / (1 + spread)
        log_within = np.log1p(unsure) + (hands - counts * unsure * self.means) ** 2 / (1 + unsure)
        return (log_spread - log_within).sum(-1) / 2

    def probabilities(self, embeddings: RealArray) -> FloatArray:
        """Return the probabilities (N, C + 1) of each gesture, and last of none, for embeddings (N, E)."""
        logits = _SHARPNESS * (self.evidence(embeddings) - _MIN_EVIDENCE)
        logits = np.concatenate([logits, np.zeros((len(embeddings), 1))], 1)
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    def classify(self, embeddings: RealArray) -> list[Gesture | None]:
        """Return the gesture, or None, of each embedding (N, E), without a unit."""
        gestures: list[Gesture | None] = []
        for row in self.probabilities(embeddings):
            best = int(row.argmax())
            none = best == len(self.names) or not row[best] >= 0
            gestures.append(None if none else Gesture(self.names[best], float(row[best])))
        return gestures

    def __call__(self, hand: Hand) -> Gesture | None:
        """Return the custom gesture of a hand, or None."""
        return self.classify(classifier.load_gestures().whiten(classifier.features_of([hand])))[0]


@dataclass(frozen=True, eq=False)
class LearnedGestures:
    """Gestures of a file.

    Example:
        >>> from pathlib import Path
        >>> alphabet = LearnedGestures.load(Path("asl"))
        >>> len(alphabet.names), alphabet.motions.names
        (26, ('J', 'Z'))
    """

    # Classifier of the static gestures; None without static gestures
    static: CustomGestures | classifier.GestureClassifier | None
    motions: CustomMotions  # custom motions; may be empty

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all gestures, static ones first."""
        static = self.static.vocabulary if isinstance(self.static, classifier.GestureClassifier) else self.static
        return (*(static.names if static else ()), *self.motions.names)

    def __call__(self, hand: Hand) -> Gesture | None:
        """Return the static gesture of a hand, or None."""
        return None if self.static is None else self.static(hand)

    def or_shipped(self, hand: Hand) -> Gesture | None:
        """Return the static gesture of a hand, or else its shipped gesture, or None."""
        return self(hand) or classifier.gesture_of(hand)

    @classmethod
    def learn(cls, recordings: Sequence[GestureRecording | MotionRecording]) -> Self:
        """Learn from recordings of one or more gestures.

        Raise InputError if there are no recordings, or a gesture is both static and a motion.
        """
        static = [recording for recording in recordings if isinstance(recording, GestureRecording)]
        moving = [recording for recording in recordings if isinstance(recording, MotionRecording)]
        if both := sorted({item.name for item in static} & {item.name for item in moving}):
            raise InputError(f"{both[0]} was recorded both as a static gesture and as a motion. Rename one of them")
        return cls(CustomGestures.learn(static) if static or not moving else None, CustomMotions.learn(moving))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file of `save` or of a recipe for gestures.

        Args:
            path: Path of the file. `asl` is the shipped manual alphabet of American Sign Language.

        Raise InputError if the file contains no gestures.
        """
        if str(path) in classifier.SHIPPED and not path.exists():
            return cls.load(data_files.ASSETS / f"{path}.npz")
        return cls._of(data_files.read_npz(path), path)

    @classmethod
    def from_bytes(cls, data: bytes, name: str, max_bytes: int) -> Self:
        """Read the bytes of `to_bytes`, up to a size of the arrays. `name` is shown in error messages."""
        return cls._of(data_files.npz_arrays(BytesIO(data), name, max_bytes), Path(name))

    @classmethod
    def _of(cls, arrays: Mapping[str, NDArray[Any]], path: Path) -> Self:
        motions = CustomMotions.from_arrays(arrays, path)
        if "weights_0" in arrays:
            return cls(classifier.GestureClassifier.from_arrays(arrays, path), motions)
        if motions.names and "names" not in arrays:
            return cls(None, motions)
        return cls(CustomGestures.from_arrays(arrays, path), motions)

    def save(self, path: Path) -> None:
        """Write the gestures as an `.npz` file.

        Raise InputError if the gestures are of a recipe, which writes its own file.
        """
        if isinstance(self.static, classifier.GestureClassifier):
            raise InputError(f"{path}: gestures of a recipe are already in a file. Copy that file")
        with files.atomic_file(path) as draft:
            draft.write_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the file content of custom gestures."""
        static = self.static.arrays() if isinstance(self.static, CustomGestures) else {}
        arrays, file = self.motions.arrays() | static, BytesIO()
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]  # a keyword of its own besides
        return file.getvalue()


def checked_name(name: object) -> str:
    """Return the name of a custom gesture or motion. Raise InputError if it is invalid or already used."""
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= _MAX_NAME_LENGTH
        or name.isspace()
        or not all(item.isalnum() or item in "_- " for item in name)
    ):
        raise InputError(f"{name!r:.60}: name a gesture by 1 to {_MAX_NAME_LENGTH} letters, digits, spaces, - and _")
    if name in (classifier.NONE, *motion_finders.MOTIONS):
        meaning = "means that a hand makes no gesture" if name == classifier.NONE else "is already a motion"
        raise InputError(f"{name} {meaning}. Choose another name")
    return name


def find_gestures(name: str | LearnedGestures) -> Callable[[Hand], Gesture | None]:
    """Return a classifier of static gestures: those of a file or loaded ones, then the shipped ones.

    `canned` means only the shipped ones, `asl` a shipped alphabet. Raise InputError for a file without gestures.
    """
    return chosen_gestures(name).or_shipped


def chosen_gestures(name: str | LearnedGestures) -> LearnedGestures:
    """Return the gestures of a name that `find_gestures` accepts. Those of `canned` have no names of their own."""
    if isinstance(name, LearnedGestures):
        return name
    if name == classifier.CANNED:
        return LearnedGestures(None, CustomMotions.learn([]))
    return LearnedGestures.load(Path(name))


def load_recording(path: Path) -> GestureRecording | MotionRecording:
    """Read a recording of a static gesture or of a motion. Raise InputError for another file."""
    arrays = data_files.read_npz(path)
    is_motion = arrays.keys() >= {"name", "steps", "lengths"}
    return MotionRecording.from_arrays(arrays, path) if is_motion else GestureRecording.from_arrays(arrays, path)


def _held(key: tuple[int, Handedness], seen: Sequence[tuple[float, Gesture]]) -> GestureSegment:
    """Return the static gesture that a hand made at some times."""
    (start_s, gesture), (end_s, _) = seen[0], seen[-1]
    score = float(np.mean([observed.score for _, observed in seen]))
    return GestureSegment(gesture.name, start_s, end_s, score, *key, moving=False)


def segments_of(frames: Iterable[Frame], gestures: LearnedGestures | None = None) -> list[GestureSegment]:
    """Return the gestures of the hands in a video with their start and end times, sorted by start.

    The frames have tracked hands or people. None means the shipped gestures. Raise InputError for images.
    """
    spotter = MotionSpotter(gestures.motions if gestures else CustomMotions.learn([]))
    smoother = classifier.GestureSmoother(classify=gestures)
    current: dict[tuple[int, Handedness], list[tuple[float, Gesture]]] = {}
    segments: list[GestureSegment] = []
    time_s = 0.0
    for frame in frames:
        if frame.time is None:
            raise InputError("segments require a video or camera: images have no time")
        hands, time_s = (
            classifier.hands_of(frame.all_results()),
            max(time_s, frame.time),
        )  # a damaged video's times may step back
        segments += spotter(hands, time_s)
        visible: set[tuple[int, Handedness]] = set()
        for hand, steady in zip(hands, smoother(hands, time_s), strict=True):
            assert hand.id is not None
            key = hand.id, hand.handedness
            if steady is None:
                continue
            visible.add(key)
            if key in current and current[key][0][1].name != steady.name:
                segments.append(_held(key, current.pop(key)))
            current.setdefault(key, []).append((time_s, steady))
        for key in current.keys() - visible:
            segments.append(_held(key, current.pop(key)))
    segments += [_held(*item) for item in current.items()] + spotter.finish()
    return sorted(
        (item for item in segments if item.end - item.start >= _MIN_DURATION_S), key=lambda item: (item.start, item.end)
    )


def confusions(recordings: Sequence[GestureRecording | MotionRecording]) -> list[tuple[tuple[str, ...], IntArray]]:
    """Return the `confusion` of static gestures and that of motions, if there are recordings of them."""
    static = [recording for recording in recordings if isinstance(recording, GestureRecording)]
    moving = [recording for recording in recordings if isinstance(recording, MotionRecording)]
    return [confusion(theirs) for theirs in (static, moving) if theirs]


def confusion(recordings: Sequence[GestureRecording] | Sequence[MotionRecording]) -> tuple[tuple[str, ...], IntArray]:
    """Classify each recording with the others, and return the names and a confusion matrix (C, C + 1).

    The last column counts samples of no gesture. Raise InputError for a gesture with one recording.
    """
    names = tuple(dict.fromkeys(recording.name for recording in recordings))
    for name in names:
        if sum(recording.name == name for recording in recordings) < 2:
            raise InputError(f"{name} has only one recording. Record it again, on another day or by another person")
    counts = np.zeros((len(names), len(names) + 1), np.int64)
    for left_out in recordings:
        columns = [
            len(names) if name is None else names.index(name)
            for name in _classified(left_out, [recording for recording in recordings if recording is not left_out])
        ]
        np.add.at(counts, (names.index(left_out.name), columns), 1)
    return names, counts


def _classified(
    left_out: GestureRecording | MotionRecording, others: Sequence[GestureRecording | MotionRecording]
) -> list[str | None]:
    """Return the gestures of a recording's samples, classified with other recordings of its kind."""
    if isinstance(left_out, GestureRecording):
        static = CustomGestures.learn([other for other in others if isinstance(other, GestureRecording)])
        return [item and item.name for item in static.classify(left_out.embedding())]
    motions = CustomMotions.learn([other for other in others if isinstance(other, MotionRecording)])
    return [None if way is None else way[0] for way in map(motions.classify, left_out.ways)]
