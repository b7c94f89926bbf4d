"""Gestures from a file: of recordings, or of a recipe such as that of a manual alphabet; held ones and motions."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.errors import InputError
from sonjit.files import arrays_of, atomic_file, read_arrays
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

    from sonjit.arrays import IntArray
    from sonjit.results import Frame, Gesture, Hand, Handedness


@dataclass(frozen=True, eq=False)
class LearnedGestures:
    """What a file of gestures tells.

    Attributes:
        held: tells the gestures that are held; None where there are none.
        motions: those that move; none of them where there are none.

    Example:
        >>> from pathlib import Path
        >>> alphabet = LearnedGestures.load(Path("asl"))
        >>> len(alphabet.names), alphabet.motions.names
        (26, ('J', 'Z'))
    """

    held: CustomGestures | GestureClassifier | None
    motions: CustomMotions

    @property
    def names(self) -> tuple[str, ...]:
        """Of all gestures, those that are held first."""
        held = self.held.vocabulary.names if isinstance(self.held, GestureClassifier) else self.held and self.held.names
        return (*(held or ()), *self.motions.names)

    def __call__(self, hand: Hand) -> Gesture | None:
        """The gesture that a hand holds, or None."""
        return None if self.held is None else self.held(hand)

    def or_shipped(self, hand: Hand) -> Gesture | None:
        """The gesture that a hand holds; where it holds none of these, the shipped one."""
        return self(hand) or gesture_of(hand)

    @classmethod
    def learn(cls, recordings: Sequence[GestureRecording | MotionRecording]) -> Self:
        """Learn from recordings, of one gesture or more.

        Raises:
            InputError: there is none, or one gesture is both held and a motion.
        """
        held = [one for one in recordings if isinstance(one, GestureRecording)]
        moving = [one for one in recordings if isinstance(one, MotionRecording)]
        if both := sorted({one.name for one in held} & {one.name for one in moving}):
            raise InputError(f"{both[0]} was recorded both held and as a motion: give one of them another name")
        if not recordings:
            raise InputError("no gesture to learn: record one first, with sonjit gestures record NAME INPUT")
        return cls(CustomGestures.learn(held) if held else None, CustomMotions.learn(moving))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save`, or a recipe of gestures, wrote.

        Args:
            path: of the file; `asl` alone is the shipped manual alphabet of American Sign Language.

        Raises:
            InputError: the file holds no gestures.
        """
        if str(path) in SHIPPED and not path.exists():
            with resources.as_file(resources.files("sonjit") / "assets" / f"{path}.npz") as shipped:
                return cls.load(shipped)
        return cls._of(read_arrays(path), path)

    @classmethod
    def from_bytes(cls, data: bytes, name: str, most_bytes: int) -> Self:
        """Read what `to_bytes` gave.

        Args:
            data: of a file.
            name: of it, for a message.
            most_bytes: that its arrays may take.

        Raises:
            InputError: it holds no gestures, or more bytes.
        """
        return cls._of(arrays_of(BytesIO(data), name, most_bytes), Path(name))

    @classmethod
    def _of(cls, arrays: Mapping[str, NDArray[Any]], path: Path) -> Self:
        motions = CustomMotions.from_arrays(arrays, path)
        if "weights_0" in arrays:
            return cls(GestureClassifier.from_arrays(arrays, path), motions)
        if motions.names and "names" not in arrays:
            return cls(None, motions)
        return cls(CustomGestures.from_arrays(arrays, path), motions)

    def save(self, path: Path) -> None:
        """An `.npz` file, there under its name when it is whole.

        Raises:
            InputError: they are of a recipe, which writes its file itself.
        """
        if isinstance(self.held, GestureClassifier):
            raise InputError(f"{path}: a recipe's gestures are in the file that it wrote; copy that")
        with atomic_file(path) as draft:
            draft.write_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """What `save` writes, of custom gestures."""
        held = self.held.arrays() if isinstance(self.held, CustomGestures) else {}
        arrays, file = self.motions.arrays() | held, BytesIO()
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]  # a keyword of its own besides
        return file.getvalue()


_LONGEST_NAME: Final = 40


def checked_name(name: object) -> str:
    """A name for a custom gesture or motion, as it is.

    Raises:
        InputError: it cannot be one, or means something already.
    """
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= _LONGEST_NAME
        or name.isspace()
        or not all(one.isalnum() or one in "_- " for one in name)
    ):
        raise InputError(f"{name!r:.60}: name a gesture by 1 to {_LONGEST_NAME} letters, digits, spaces, - and _")
    if name in (NONE, *MOTIONS):
        meaning = "is what hands make that make no gesture" if name == NONE else "is a motion that is known already"
        raise InputError(f"{name} {meaning}: give yours another name")
    return name


def find_gestures(name: str | LearnedGestures) -> Callable[[Hand], Gesture | None]:
    """What tells the gesture of a hand: the shipped ones, and before them those of a file.

    Args:
        name: `canned` for the shipped ones alone, `asl`, or the path of a file that `LearnedGestures.load` reads; or
            what it has read.

    Raises:
        InputError: the file holds no gestures.
    """
    if name == CANNED:
        return gesture_of
    return (name if isinstance(name, LearnedGestures) else LearnedGestures.load(Path(name))).or_shipped


def find_motions(name: str | LearnedGestures) -> CustomMotions:
    """The motions of what `find_gestures` takes, of which there may be none; raises as it does."""
    if name == CANNED:
        return CustomMotions.learn([])
    return (name if isinstance(name, LearnedGestures) else LearnedGestures.load(Path(name))).motions


def load_recording(path: Path) -> GestureRecording | MotionRecording:
    """Read a recording, of a gesture that is held or of a motion.

    Raises:
        InputError: the file is none.
    """
    arrays = read_arrays(path)
    is_motion = arrays.keys() >= {"name", "steps", "lengths"}
    return MotionRecording.from_arrays(arrays, path) if is_motion else GestureRecording.from_arrays(arrays, path)


_LEAST_S: Final = 0.2
"""A gesture that is held for less is one on its way to another."""


class _Held:
    """A gesture that a hand holds."""

    def __init__(self, gesture: Gesture, time_s: float) -> None:
        self.name, self.start_s, self.end_s = gesture.name, time_s, time_s
        self._scores = [gesture.score]

    def go_on(self, gesture: Gesture, time_s: float) -> None:
        self.end_s = time_s
        self._scores.append(gesture.score)

    def segment(self, id: int, handedness: Handedness) -> GestureSegment:
        return GestureSegment(
            self.name, self.start_s, self.end_s, float(np.mean(self._scores)), id, handedness, moving=False
        )


def segments_of(frames: Iterable[Frame], gestures: LearnedGestures | None = None) -> list[GestureSegment]:
    """From when to when each hand of a video makes which gesture, by their beginning.

    Args:
        frames: of one video, with hands that are tracked, or people.
        gestures: of a file; the shipped ones by default.

    Raises:
        InputError: it is no video.
    """
    spotter = MotionSpotter(gestures.motions if gestures else CustomMotions.learn([]))
    smoother = GestureSmoother(tell=gestures)
    held: dict[tuple[int, Handedness], _Held] = {}
    found: list[GestureSegment] = []
    time_s = 0.0
    for frame in frames:
        if frame.time is None:
            raise InputError("segments are those of a video or camera: images have no time")
        hands, time_s = hands_of(frame), max(time_s, frame.time)  # a damaged video's times may step back
        found += spotter(hands, time_s)
        seen: set[tuple[int, Handedness]] = set()
        for hand, steady in zip(hands, smoother(hands, time_s), strict=True):
            assert hand.id is not None
            key = hand.id, hand.handedness
            if steady is None:
                continue
            seen.add(key)
            if key in held and held[key].name == steady.name:
                held[key].go_on(steady, time_s)
                continue
            if key in held:
                found.append(held[key].segment(*key))
            held[key] = _Held(steady, time_s)
        for key in held.keys() - seen:
            found.append(held.pop(key).segment(*key))
    found += [one.segment(*key) for key, one in held.items()] + spotter.finish()
    return sorted((one for one in found if one.end - one.start >= _LEAST_S), key=lambda one: (one.start, one.end))


def hands_of(frame: Frame) -> list[Hand]:
    """The hands of a frame, those of people with their person's id."""
    own = [one for person in frame.people for one in (person.left_hand, person.right_hand) if one is not None]
    return [*frame.hands, *own]


def confusions(recordings: Sequence[GestureRecording | MotionRecording]) -> list[tuple[tuple[str, ...], IntArray]]:
    """The `confusion` of held gestures and that of motions, where there are recordings of them; raises as it does."""
    held = [one for one in recordings if isinstance(one, GestureRecording)]
    moving = [one for one in recordings if isinstance(one, MotionRecording)]
    return [confusion(theirs) for theirs in (held, moving) if theirs]


def confusion(
    recordings: Sequence[GestureRecording] | Sequence[MotionRecording],
) -> tuple[tuple[str, ...], IntArray]:
    """How recordings are told by what the others of each gesture teach: names, and counts (C, C + 1), told none last.

    Raises:
        InputError: a gesture has but one recording, so that nothing is left to learn it from.
    """
    names = tuple(dict.fromkeys(one.name for one in recordings))
    for name in names:
        if sum(one.name == name for one in recordings) < 2:
            raise InputError(f"{name} has but one recording: record it a second time, another day or by someone else")
    counts = np.zeros((len(names), len(names) + 1), np.int64)
    for left_out in recordings:
        columns = [
            len(names) if name is None else names.index(name)
            for name in _told(left_out, [one for one in recordings if one is not left_out])
        ]
        np.add.at(counts, (names.index(left_out.name), columns), 1)
    return names, counts


def _told(
    left_out: GestureRecording | MotionRecording, others: Sequence[GestureRecording | MotionRecording]
) -> list[str | None]:
    """What the samples of a recording are told as by what others of its kind teach."""
    if isinstance(left_out, GestureRecording):
        held = CustomGestures.learn([one for one in others if isinstance(one, GestureRecording)])
        return [one and one.name for one in held.tell(left_out.embedding())]
    motions = CustomMotions.learn([one for one in others if isinstance(one, MotionRecording)])
    return [None if one is None else one[0] for one in map(motions.tell, left_out.ways)]
