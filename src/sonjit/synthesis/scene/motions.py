"""Hands in motion for sequences: performed ones by name, or those that a detector saw in a video."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from sonjit.errors import InputError
from sonjit.geometry.cameras import assumed_camera, translation_to_view
from sonjit.media import load_frames
from sonjit.meshes.hand_mesh import weak_view
from sonjit.synthesis.hands.shape import rig_from_shape
from sonjit.synthesis.scene.sequences import make_sequence, retarget, sequence_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sonjit.geometry.cameras import Intrinsics
    from sonjit.hand_models.rig import Rig, RigPose, Side
    from sonjit.results import Frame, Hand
    from sonjit.synthesis.hands.mesh import HandFiles

SEQUENCE_GROUPS: Final = ("any", "peak", "rom")
_SIDES: Final[tuple[Side, ...]] = ("Right", "Left")
_LEAST_FRAMES: Final = 2
"""A hand that is seen in fewer is taken for a mistake."""


@dataclass(frozen=True, eq=False)
class HandTrack:
    """One hand through a sequence.

    Attributes:
        rig: of its person.
        shape: (36,) that the rig was made with.
        pose: M frames.
        rows: frame of the sequence → place in the pose.
    """

    rig: Rig
    shape: NDArray[np.float64]
    pose: RigPose
    rows: Mapping[int, int]


@dataclass(frozen=True, eq=False)
class HandMotion:
    """Hands over time.

    Attributes:
        name: of the sequence.
        times: (N,) seconds.
        hands: that take part.
        camera: before which they already stand; None where they are about the point before a person's chest.
    """

    name: str
    times: NDArray[np.float64]
    hands: tuple[HandTrack, ...]
    camera: Intrinsics | None = None


class MotionSource(Protocol):
    """Where motions come from."""

    def make(self, shape: NDArray[np.float64], rng: np.random.Generator) -> HandMotion:
        """One motion of a person's hands."""
        ...


@dataclass(frozen=True)
class NamedMotions:
    """Performances of the sequences that `sequences` knows.

    Attributes:
        names: to choose from.
        fps: frames a second.
        files: the user's own hands; None for the catalog's.
    """

    names: tuple[str, ...]
    fps: float
    files: HandFiles | None = None

    @classmethod
    def chosen(cls, text: str, fps: float, files: HandFiles | None = None) -> NamedMotions:
        """By `peak`, `rom` or `any`, or by names with commas between.

        Raises:
            InputError: an unknown name, or no frames.
        """
        if not 0 < fps <= 240:
            raise InputError(f"--fps {fps:g}: give more than 0, at most 240")
        known = sequence_names()
        match text:
            case "any":
                return cls(known, fps, files)
            case "peak":
                return cls(tuple(name for name in known if not name.startswith("ROM")), fps, files)
            case "rom":
                return cls(tuple(name for name in known if name.startswith("ROM")), fps, files)
            case _:
                names = tuple(text.split(","))
        if wrong := [name for name in names if name not in known]:
            raise InputError(f"--sequence {wrong[0]}: unknown; known: {', '.join((*SEQUENCE_GROUPS, *known))}")
        return cls(names, fps, files)

    def make(self, shape: NDArray[np.float64], rng: np.random.Generator) -> HandMotion:
        """A performance of one of the sequences."""
        rigs: dict[Side, Rig] = {side: rig_from_shape(side, shape, self.files) for side in _SIDES}
        made = make_sequence(self.names[rng.integers(len(self.names))], rigs, self.fps, rng)
        rows = {frame: frame for frame in range(len(made.times))}
        hands = tuple(HandTrack(rigs[side], shape, pose, rows) for side, pose in made.poses.items())
        return HandMotion(made.name, made.times, hands)


@dataclass(frozen=True)
class SeenMotion:
    """What a detector saw in a video; shapes are fitted to the hands seen.

    Attributes:
        path: a table with hands that `sonjit hands VIDEO --save` wrote.
        files: the user's own hands; None for the catalog's.
    """

    path: str
    files: HandFiles | None = None

    def make(self, shape: NDArray[np.float64], rng: np.random.Generator) -> HandMotion:
        """Always the same one."""
        return load_motion(self.path, self.files)


@lru_cache(maxsize=2)
def load_motion(path: str, files: HandFiles | None = None) -> HandMotion:
    """The motion of the hands in a table, before the camera that is assumed for a video of its size.

    Raises:
        InputError: no table with hands and times.
    """
    header, frames = load_frames(path)
    if not header.width or not header.height:
        raise InputError(f"{path} does not say how large the images were: save the hands as .json")
    camera = assumed_camera(header.width, header.height)
    tracks: defaultdict[int, list[tuple[int, Hand]]] = defaultdict(list)
    for number, frame in enumerate(frames):
        for place, hand in enumerate(frame.hands):
            tracks[place if hand.id is None else hand.id].append((number, hand))
    times = _times(frames, header.fps)
    hands = tuple(_hand_track(track, times, camera, files) for track in tracks.values() if len(track) >= _LEAST_FRAMES)
    if not hands:
        raise InputError(f"{path} holds no hand in {_LEAST_FRAMES} frames or more: was it a video?")
    return HandMotion(Path(path).stem, times, hands, camera)


def _times(frames: Sequence[Frame], fps: float | None) -> NDArray[np.float64]:
    stated = [frame.time for frame in frames]
    known = [time for time in stated if time is not None]
    return np.array(known) if len(known) == len(stated) else np.arange(len(frames)) / (fps or 30.0)


def _hand_track(
    track: list[tuple[int, Hand]], times: NDArray[np.float64], camera: Intrinsics, files: HandFiles | None
) -> HandTrack:
    """One hand, as most of its frames say whose; x and y as the image shows them, z from the metric keypoints."""
    numbers = [number for number, _ in track]
    sides = [hand.handedness for _, hand in track]
    side: Side = max(_SIDES, key=sides.count)
    points = np.stack([_before_camera(hand, camera) for _, hand in track])
    shape, pose = retarget(side, points, times[numbers], files)
    rows = {number: row for row, number in enumerate(numbers)}
    return HandTrack(rig_from_shape(side, shape, files), shape, pose, rows)


def _before_camera(hand: Hand, camera: Intrinsics) -> NDArray[np.float64]:
    """(21, 3) metres in the camera's frame."""
    metric, seen = hand.keypoints_3d.astype(np.float64), hand.keypoints[:, :2]
    view = weak_view(metric, seen)
    metric[:, :2] = (seen - np.array(view.offset)) / view.scale
    shift = translation_to_view(metric, seen, camera)
    if shift is None:
        raise InputError("a hand's keypoints do not fit before any camera: find the hands anew")
    return metric + shift
