"""Load what several cameras detected, and match people across views and over time.

A person is an array of keypoints, part after part. The parts are body, right hand, left hand and face, as far as the
tables contain them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from sonjit._util.arrays import FloatArray, IndexArray
from sonjit._util.errors import InputError
from sonjit.media import load_frames
from sonjit.results import Body, Frame, Hand, Instance
from sonjit.studio.cameras.frame_sets import CameraFrames
from sonjit.studio.cameras.rig import CameraRig
from sonjit.studio.cameras.views import frame_numbers
from sonjit.studio.triangulation.association import Group, Tracker, group_views
from sonjit.studio.triangulation.bones import SIDES, medians
from sonjit.studio.triangulation.parts import Part

LIST_ORDER: Final = ("bodies", "hands", "faces")
_LIST_NAMES: Final = ("people", "bodies", "faces", "hands")
_MIN_VISIBILITY: Final = 0.5  # least visibility of a body's keypoint that identifies a person
_COMPARED_KEYPOINTS: Final = 33  # keypoints that identify a person: all of a body's, some of a face's
_MIN_SUPPORT: Final = 0.4  # least support of a group that is one person; views of different people may almost match
_MIN_FRAME_SETS: Final = 3  # frame sets in which a person must be matched
DEFAULT_STEP_S: Final = 1 / 30
RIGHT_HAND, LEFT_HAND = HANDS = tuple(Part("hands", "hand_mediapipe21", side) for side in SIDES)
_Person = Mapping[Part, Instance]
"""A person in one image."""


def part_slices(parts: Sequence[Part]) -> Iterator[tuple[Part, slice]]:
    """Iterate over the parts and their slices of a person's keypoints."""
    first = 0
    for part in parts:
        yield part, slice(first, first + part.size)
        first += part.size


@dataclass(frozen=True, eq=False)
class Detections:
    """Detections by C cameras of N people in F frame sets.

    Attributes:
        parts: Parts of every person in the order of keypoints, K together.
        frames: (F,) numbers of the frame sets, ascending.
        times_s: (F,) times in seconds, medians over the cameras, NaN where no table has them.
        points_px: (C, F, N, K, 2) keypoints in pixels, NaN where unknown.
        confidence: (C, F, N, K) weights: scores, for bodies times the visibility.
        unmatched: (C,) number of detections of each view that match no other view and are dropped.
    """

    parts: tuple[Part, ...]
    frames: tuple[int, ...]
    times_s: FloatArray
    points_px: FloatArray
    confidence: FloatArray
    unmatched: tuple[int, ...] = ()

    def of_cameras(self, rows: Sequence[int]) -> Detections:
        """Return the detections of some cameras."""
        return Detections(
            parts=self.parts,
            frames=self.frames,
            times_s=self.times_s,
            points_px=self.points_px[list(rows)],
            confidence=self.confidence[list(rows)],
            unmatched=tuple(self.unmatched[row] for row in rows) if self.unmatched else (),
        )


def load_detections(
    rig: CameraRig,
    tables: Mapping[str, Path],
    frame_sets: Mapping[str, CameraFrames] | None = None,
    fps: float | None = None,
) -> Detections:
    """Load a table per camera and match people across views and over time.

    Tables of hands describe one person: of several hands of one side in an image the one with the highest score counts.
    If no image shows two bodies (faces, people), they belong to one person, too.

    Args:
        rig: Rig. Cameras without a table have no detections.
        tables: Tables of `sonjit hands|face|body|holistic --save` by camera. The same frame of a video, or images of
            the same number, belong to the same frame set in all.
        frame_sets: Frame sets of each camera's images, if their numbers do not match.
        fps: Frame sets per second, for folders of images, whose tables have no times.

    Raises:
        InputError: A table cannot be read, all are empty, they are of several kinds, or `fps` is not above 0 or does
            not apply.
    """
    frames_by_view = {rig.index(name): load_frames(path)[1] for name, path in tables.items()}
    for view, frames in frames_by_view.items():
        _assign_frame_sets(frames, None if frame_sets is None else frame_sets[rig.names[view]])
    list_names = [
        list_name
        for list_name in _LIST_NAMES
        if any(frame.results(list_name) for frames in frames_by_view.values() for frame in frames)
    ]
    files = ", ".join(str(path) for path in tables.values())[:80]
    if not list_names:
        raise InputError(f"{files}: no detections; choose tables with hands, faces, bodies or people")
    if len(list_names) > 1:
        raise InputError(f"{' and '.join(list_names)} in {files}; choose tables of one kind")
    (list_name,) = list_names
    numbers = sorted({frame.index for frames in frames_by_view.values() for frame in frames})
    rows = {number: row for row, number in enumerate(numbers)}
    times = np.full((len(rig), len(numbers)), np.nan)
    people = [[list[_Person]() for _ in rig] for _ in numbers]
    for view, frames in frames_by_view.items():
        for frame in frames:
            times[view, rows[frame.index]] = np.nan if frame.time is None else frame.time
            people[rows[frame.index]][view] = list(_people_in(frame, list_name))
    return _match_people(
        rig, tuple(numbers), medians(times) if fps is None else _times_from_fps(numbers, times, fps), people
    )


def _times_from_fps(numbers: Sequence[int], table_times_s: FloatArray, fps: float) -> FloatArray:
    """Return the times (F,) of frame sets whose tables have none."""
    if not 0 < fps < math.inf:
        raise InputError(f"--fps {fps:g}: give frames per second, above 0")
    if np.isfinite(table_times_s).any():
        raise InputError("--fps applies only to tables without times, such as those of images")
    return np.array(numbers) / fps


def _assign_frame_sets(frames: list[Frame], camera_frames: CameraFrames | None) -> None:
    """Set each frame's index and time to those of its frame set, and remove frames of none."""
    names = [frame.source for frame in frames]
    if all(name is not None for name in names) and len(set(names)) == len(names):
        for frame, number in zip(frames, frame_numbers([Path(str(name)) for name in names]), strict=True):
            frame.index = number
    if camera_frames is None:
        return
    frames[:] = [frame for frame in frames if frame.index in camera_frames.frame_sets]
    for frame in frames:
        frame.index = camera_frames.frame_sets[frame.index]
        frame.time = camera_frames.times_s[frame.index] if camera_frames.times_s else frame.time


def _people_in(frame: Frame, list_name: str) -> Iterator[_Person]:
    """Iterate over the people of a frame."""
    if list_name == "hands":
        best = {hand.handedness: hand for hand in sorted(frame.hands, key=lambda hand: hand.score)}
        if best:
            yield {_part_of(hand): hand for hand in best.values()}
    elif list_name == "people":
        for person in frame.people:
            hands = {HANDS[side]: hand for side, hand in enumerate((person.right_hand, person.left_hand)) if hand}
            others = [part for part in (person.body, person.face) if part is not None]
            yield {**{_part_of(instance): instance for instance in others}, **hands}
    else:
        for instance in frame.bodies if list_name == "bodies" else frame.faces:
            yield {_part_of(instance): instance}


def _part_of(instance: Instance) -> Part:
    """Return the part of an instance."""
    return (
        HANDS[SIDES.index(instance.handedness)]
        if isinstance(instance, Hand)
        else Part(instance.list_name, instance.skeleton.name)
    )


def _match_people(
    rig: CameraRig, frames: tuple[int, ...], times_s: FloatArray, people_by_view: Sequence[Sequence[Sequence[_Person]]]
) -> Detections:
    """Return the people of F frame sets of C views."""
    images = [people for views in people_by_view for people in views]
    parts = tuple(
        sorted(
            {part for people in images for person in people for part in person},
            key=lambda part: (LIST_ORDER.index(part.list_name), part.handedness != "Right", part.skeleton),
        )
    )
    face_models = [part.skeleton for part in parts if part.list_name == "faces"]
    if len(face_models) > 1:
        raise InputError(f"faces of several models ({', '.join(face_models)}): use one model in all views")
    if any(len(people) > 1 for people in images):
        identities, unmatched = _identities(rig, frames, times_s, parts, people_by_view)
    else:
        identities = [[[0] * len(people) for people in views] for views in people_by_view]
        unmatched = [0] * len(rig)
    count = 1 + max((number for views in identities for numbers in views for number in numbers), default=-1)
    if not count:
        raise InputError("no person matches in two views: do the cameras belong to these tables?")
    size = sum(part.size for part in parts)
    points = np.full((len(rig), len(frames), count, size, 2), np.nan)
    confidence = np.zeros(points.shape[:-1])
    for row, views in enumerate(people_by_view):
        for view, people in enumerate(views):
            for person, number in zip(people, identities[row][view], strict=True):
                if number >= 0:
                    points[view, row, number], confidence[view, row, number] = _keypoints_of(parts, person)
    return Detections(
        parts=parts, frames=frames, times_s=times_s, points_px=points, confidence=confidence, unmatched=tuple(unmatched)
    )


def _keypoints_of(parts: Sequence[Part], person: _Person) -> tuple[FloatArray, FloatArray]:
    """Return pixels (K, 2) and confidences (K,) of one person in one view."""
    size = sum(part.size for part in parts)
    points, confidence = np.full((size, 2), np.nan), np.zeros(size)
    for part, keypoints in part_slices(parts):
        if part in person:
            instance = person[part]
            points[keypoints] = instance.keypoints[:, :2]
            confidence[keypoints] = instance.score * (instance.visibility if isinstance(instance, Body) else 1)
    return points, confidence


def _identities(
    rig: CameraRig,
    frames: tuple[int, ...],
    times_s: FloatArray,
    parts: tuple[Part, ...],
    people_by_view: Sequence[Sequence[Sequence[_Person]]],
) -> tuple[list[list[list[int]]], list[int]]:
    """Assign detections to people.

    Returns:
        Index of the person of each detection, or -1, and the number of unassigned detections of each view.
    """
    part = parts[0]  # bodies identify best, and people have one
    compared = np.unique(np.linspace(0, part.size - 1, min(part.size, _COMPARED_KEYPOINTS)).round().astype(int))
    known_when = np.isfinite(times_s).all()
    tracker, counts = Tracker(), dict[int, int]()
    identities = [[[-1] * len(people) for people in views] for views in people_by_view]
    for row, views in enumerate(people_by_view):
        positions = [(view, which) for view, people in enumerate(views) for which in range(len(people))]
        if len(positions) < 2:
            continue
        matches = _match_views(rig, [(view, views[view][which][part]) for view, which in positions], compared)
        time = float(times_s[row]) if known_when else frames[row] * DEFAULT_STEP_S
        for group, number in zip(
            matches, tracker.assign(time, [instance.points_m for instance in matches]), strict=True
        ):
            counts[number] = counts.get(number, 0) + 1
            for index in group.rows.tolist():
                view, which = positions[index]
                identities[row][view][which] = number
    min_count = min(_MIN_FRAME_SETS, len(frames))
    persons = [number for number, count in sorted(counts.items()) if count >= min_count]
    new_numbers = {number: index for index, number in enumerate(persons)}
    identities = [[[new_numbers.get(number, -1) for number in numbers] for numbers in views] for views in identities]
    return identities, [sum(numbers.count(-1) for numbers in column) for column in zip(*identities, strict=True)]


def _match_views(rig: CameraRig, instances: Sequence[tuple[int, Instance]], compared: IndexArray) -> list[Group]:
    """Return the groups of instances of one person that enough views agree on, by the compared keypoints."""
    points = np.stack([_identifying_keypoints(instance)[compared] for _, instance in instances])
    score = np.array([max(instance.score, 1e-3) for _, instance in instances])
    groups = group_views(rig, np.array([view for view, _ in instances]), points, score)
    return [group for group in groups if group.support >= _MIN_SUPPORT]


def _identifying_keypoints(instance: Instance) -> FloatArray:
    """Return the keypoints (K, 2) that identify a person, NaN for occluded ones, which networks guess."""
    points = instance.keypoints[:, :2].astype(np.float64)
    if isinstance(instance, Body):
        points[instance.visibility < _MIN_VISIBILITY] = np.nan
    return points
