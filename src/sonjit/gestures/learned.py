"""Static gestures and motions from a file, made from recordings or by a recipe such as a manual alphabet's."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit._util.data_files import npz_arrays, read_npz
from sonjit._util.errors import InputError
from sonjit._util.files import atomic_file
from sonjit.gestures.classifier import NONE, GestureClassifier, gesture_of
from sonjit.gestures.custom import CustomGestures, GestureRecording
from sonjit.gestures.custom_motions import CustomMotions, GestureSegment, MotionRecording, MotionSpotter
from sonjit.gestures.motions.events import MOTIONS
from sonjit.gestures.shipped import CANNED, SHIPPED
from sonjit.gestures.smoothing import GestureSmoother

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Self

    from numpy.typing import NDArray

    from sonjit._util.arrays import IntArray
    from sonjit.results import Frame, Gesture, Hand, Handedness


_MAX_NAME_LENGTH: Final = 40
"""Maximum number of characters of the name of a gesture."""
_MIN_DURATION_S: Final = 0.2
"""Minimum duration of a static gesture. Shorter ones occur on the way to another gesture."""


@dataclass(frozen=True, eq=False)
class LearnedGestures:
    """Gestures of a file.

    Attributes:
        static: Classifier of the static gestures; None without static gestures.
        motions: Custom motions; may be empty.

    Example:
        >>> from pathlib import Path
        >>> alphabet = LearnedGestures.load(Path("asl"))
        >>> len(alphabet.names), alphabet.motions.names
        (26, ('J', 'Z'))
    """

    static: CustomGestures | GestureClassifier | None
    motions: CustomMotions

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all gestures, static ones first."""
        names = (
            self.static.vocabulary.names
            if isinstance(self.static, GestureClassifier)
            else self.static and self.static.names
        )
        return (*(names or ()), *self.motions.names)

    def __call__(self, hand: Hand) -> Gesture | None:
        """Return the static gesture of a hand, or None."""
        return None if self.static is None else self.static(hand)

    def or_shipped(self, hand: Hand) -> Gesture | None:
        """Return the static gesture of a hand, or else its shipped gesture, or None."""
        return self(hand) or gesture_of(hand)

    @classmethod
    def learn(cls, recordings: Sequence[GestureRecording | MotionRecording]) -> Self:
        """Learn from recordings of one or more gestures.

        Raises:
            InputError: There are no recordings, or a gesture is both static and a motion.
        """
        static = [recording for recording in recordings if isinstance(recording, GestureRecording)]
        moving = [recording for recording in recordings if isinstance(recording, MotionRecording)]
        if both := sorted({item.name for item in static} & {item.name for item in moving}):
            raise InputError(f"{both[0]} was recorded both as a static gesture and as a motion. Rename one of them")
        if not recordings:
            raise InputError("no gesture to learn. First record one with sonjit gestures record NAME INPUT")
        return cls(CustomGestures.learn(static) if static else None, CustomMotions.learn(moving))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file of `save` or of a recipe for gestures.

        Args:
            path: Path of the file. `asl` is the shipped manual alphabet of American Sign Language.

        Raises:
            InputError: The file contains no gestures.
        """
        if str(path) in SHIPPED and not path.exists():
            with resources.as_file(resources.files("sonjit") / "_util" / "assets" / f"{path}.npz") as shipped:
                return cls.load(shipped)
        return cls._of(read_npz(path), path)

    @classmethod
    def from_bytes(cls, data: bytes, name: str, max_bytes: int) -> Self:
        """Read the bytes of `to_bytes`.

        Args:
            data: Content of a file.
            name: File name shown in error messages.
            max_bytes: Maximum size of its arrays.

        Raises:
            InputError: The content has no gestures, or is too large.
        """
        return cls._of(npz_arrays(BytesIO(data), name, max_bytes), Path(name))

    @classmethod
    def _of(cls, arrays: Mapping[str, NDArray[Any]], path: Path) -> Self:
        motions = CustomMotions.from_arrays(arrays, path)
        if "weights_0" in arrays:
            return cls(GestureClassifier.from_arrays(arrays, path), motions)
        if motions.names and "names" not in arrays:
            return cls(None, motions)
        return cls(CustomGestures.from_arrays(arrays, path), motions)

    def save(self, path: Path) -> None:
        """Write the gestures as an `.npz` file.

        Raises:
            InputError: The gestures are of a recipe, which writes its own file.
        """
        if isinstance(self.static, GestureClassifier):
            raise InputError(f"{path}: gestures of a recipe are already in a file. Copy that file")
        with atomic_file(path) as draft:
            draft.write_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the file content of custom gestures."""
        static = self.static.arrays() if isinstance(self.static, CustomGestures) else {}
        arrays, file = self.motions.arrays() | static, BytesIO()
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]  # a keyword of its own besides
        return file.getvalue()


def checked_name(name: object) -> str:
    """Return the name of a custom gesture or motion if it is valid.

    Raises:
        InputError: The name is invalid, or already used.
    """
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= _MAX_NAME_LENGTH
        or name.isspace()
        or not all(item.isalnum() or item in "_- " for item in name)
    ):
        raise InputError(f"{name!r:.60}: name a gesture by 1 to {_MAX_NAME_LENGTH} letters, digits, spaces, - and _")
    if name in (NONE, *MOTIONS):
        meaning = "means that a hand makes no gesture" if name == NONE else "is already a motion"
        raise InputError(f"{name} {meaning}. Choose another name")
    return name


def find_gestures(name: str | LearnedGestures) -> Callable[[Hand], Gesture | None]:
    """Return a classifier of static gestures: those of a file, then the shipped ones.

    Args:
        name: `canned` for only the shipped ones, `asl`, the path of a file for `LearnedGestures.load`, or loaded
            gestures.

    Raises:
        InputError: The file contains no gestures.
    """
    if name == CANNED:
        return gesture_of
    return (name if isinstance(name, LearnedGestures) else LearnedGestures.load(Path(name))).or_shipped


def find_motions(name: str | LearnedGestures) -> CustomMotions:
    """Return the custom motions of the gestures that `find_gestures` accepts; there may be none."""
    if name == CANNED:
        return CustomMotions.learn([])
    return (name if isinstance(name, LearnedGestures) else LearnedGestures.load(Path(name))).motions


def load_recording(path: Path) -> GestureRecording | MotionRecording:
    """Read a recording of a static gesture or of a motion.

    Raises:
        InputError: The file is not a recording.
    """
    arrays = read_npz(path)
    is_motion = arrays.keys() >= {"name", "steps", "lengths"}
    return MotionRecording.from_arrays(arrays, path) if is_motion else GestureRecording.from_arrays(arrays, path)


class _Segment:
    """Static gesture of a hand over several frames."""

    def __init__(self, gesture: Gesture, time_s: float) -> None:
        self.name, self.start_s, self.end_s = gesture.name, time_s, time_s
        self._scores = [gesture.score]

    def extend(self, gesture: Gesture, time_s: float) -> None:
        self.end_s = time_s
        self._scores.append(gesture.score)

    def segment(self, id: int, handedness: Handedness) -> GestureSegment:
        return GestureSegment(
            name=self.name,
            start=self.start_s,
            end=self.end_s,
            score=float(np.mean(self._scores)),
            id=id,
            handedness=handedness,
            moving=False,
        )


def segments_of(frames: Iterable[Frame], gestures: LearnedGestures | None = None) -> list[GestureSegment]:
    """Return the gestures of the hands in a video with their start and end times, sorted by start.

    Args:
        frames: Frames of one video, with tracked hands or people.
        gestures: Gestures of a file; None for the shipped ones.

    Raises:
        InputError: The frames are not of a video.
    """
    spotter = MotionSpotter(gestures.motions if gestures else CustomMotions.learn([]))
    smoother = GestureSmoother(classify=gestures)
    current: dict[tuple[int, Handedness], _Segment] = {}
    found: list[GestureSegment] = []
    time_s = 0.0
    for frame in frames:
        if frame.time is None:
            raise InputError("segments require a video or camera: images have no time")
        hands, time_s = hands_of(frame), max(time_s, frame.time)  # a damaged video's times may step back
        found += spotter(hands, time_s)
        visible: set[tuple[int, Handedness]] = set()
        for hand, steady in zip(hands, smoother(hands, time_s), strict=True):
            assert hand.id is not None
            key = hand.id, hand.handedness
            if steady is None:
                continue
            visible.add(key)
            if key in current and current[key].name == steady.name:
                current[key].extend(steady, time_s)
                continue
            if key in current:
                found.append(current[key].segment(*key))
            current[key] = _Segment(steady, time_s)
        for key in current.keys() - visible:
            found.append(current.pop(key).segment(*key))
    found += [item.segment(*key) for key, item in current.items()] + spotter.finish()
    return sorted(
        (item for item in found if item.end - item.start >= _MIN_DURATION_S), key=lambda item: (item.start, item.end)
    )


def hands_of(frame: Frame) -> list[Hand]:
    """Return the hands of a frame, including those of people, which have the id of their person."""
    own = [item for person in frame.people for item in (person.left_hand, person.right_hand) if item is not None]
    return [*frame.hands, *own]


def confusions(recordings: Sequence[GestureRecording | MotionRecording]) -> list[tuple[tuple[str, ...], IntArray]]:
    """Return the `confusion` of static gestures and that of motions, if there are recordings of them."""
    static = [recording for recording in recordings if isinstance(recording, GestureRecording)]
    moving = [recording for recording in recordings if isinstance(recording, MotionRecording)]
    return [confusion(theirs) for theirs in (static, moving) if theirs]


def confusion(
    recordings: Sequence[GestureRecording] | Sequence[MotionRecording],
) -> tuple[tuple[str, ...], IntArray]:
    """Classify each recording with the others, and return the names and a confusion matrix (C, C + 1).

    The last column counts samples that are classified as no gesture.

    Raises:
        InputError: A gesture has only one recording.
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
