"""Match what several cameras detected to people, and fit, save and load people in space.

A person is an array of keypoints, part after part. The parts are body, right hand, left hand and face, as far as the
tables contain them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from sonjit._util import FloatArray, IndexArray, InputError, data_files
from sonjit._util.records import field
from sonjit.geometry.steps import Rows, frame_positions, points_at, rows_of_frames
from sonjit.media import load_frames
from sonjit.results import Body, Frame, Hand, Instance
from sonjit.results.skeletons import load_skeleton
from sonjit_lab import redundant_facts
from sonjit_studio import association, triangulation
from sonjit_studio.bones import SIDES, Part, bone_lengths, enforce_lengths, fit_skeletons, medians, regularized_lengths
from sonjit_studio.rig import CameraRig, is_z_up
from sonjit_studio.views import CameraFrames, frame_numbers

LIST_ORDER: Final = ("bodies", "hands", "faces")
_LIST_NAMES: Final = ("people", "bodies", "faces", "hands")
_MIN_VISIBILITY: Final = 0.5  # least visibility of a body's keypoint that identifies a person
_COMPARED_KEYPOINTS: Final = 33  # keypoints that identify a person: all of a body's, some of a face's
_MIN_SUPPORT: Final = 0.4  # least support of a group that is one person; views of different people may almost match
_MIN_FRAME_SETS: Final = 3  # frame sets in which a person must be matched
_DEFAULT_STEP_S: Final = 1 / 30
_HAND_THRESHOLD_PX: Final = 10.0  # largest reprojection error of an inlier
_BODY_THRESHOLD: Final = 0.06  # the same relative to the size of a body; docs/measured.md compares thresholds
HANDS: Final = tuple(Part("hands", "hand_mediapipe21", side) for side in SIDES)
_Person = Mapping[Part, Instance]  # a person in one image
_GESTURE_ACCELERATION: Final = 16.0  # m/s² of gestures; with few cameras only smoothness separates depth from noise


def part_slices(parts: Sequence[Part]) -> Iterator[tuple[Part, slice]]:
    """Iterate over the parts and their slices of a person's keypoints."""
    first = 0
    for part in parts:
        yield part, slice(first, first + part.size)
        first += part.size


@dataclass(frozen=True, eq=False)
class Detections:
    """Detections by C cameras of N people in F frame sets."""

    parts: tuple[Part, ...]
    frames: tuple[int, ...]  # (F,) numbers of the frame sets, ascending
    times_s: FloatArray  # (F,) times in seconds, medians over the cameras, NaN where no table has them
    points_px: FloatArray  # (C, F, N, K, 2) keypoints in pixels, NaN where unknown
    confidence: FloatArray  # (C, F, N, K) weights: scores, for bodies times the visibility
    unmatched: tuple[int, ...] = ()  # (C,) number of detections of each view that match no other view and are dropped
    notes: tuple[str, ...] = ()  # contradictions in the tables, one line each

    def usual_threshold_px(self) -> float:
        """Return the largest reprojection error of an inlier in pixels, which grows with the size of bodies."""
        bodies = [keypoints for part, keypoints in part_slices(self.parts) if part.list_name == "bodies"]
        if not bodies:
            return _HAND_THRESHOLD_PX
        points = self.points_px[..., bodies[0], :]
        complete = points[np.isfinite(points).all((-1, -2))]  # (M, K, 2)
        if not len(complete):
            return _HAND_THRESHOLD_PX
        size_px = float(np.median(np.ptp(complete, axis=1).max(-1)))
        return max(_HAND_THRESHOLD_PX, _BODY_THRESHOLD * size_px)

    def other_sides(self) -> IndexArray:
        """Return the index (K,) of each keypoint's counterpart on the other side of the body, or its own."""
        names = {
            keypoints.start + index: f"{part.name}_{name}"
            for part, keypoints in part_slices(self.parts)
            for index, name in enumerate(load_skeleton(part.skeleton).keypoints)
        }
        return np.array([*redundant_facts.exchanged_sides(names).values()], np.intp)

    def of_cameras(self, rows: Sequence[int]) -> "Detections":
        """Return the detections of some cameras."""
        which = list(rows)
        unmatched = tuple(self.unmatched[row] for row in rows) if self.unmatched else ()
        points, confidence = self.points_px[which], self.confidence[which]
        return replace(self, points_px=points, confidence=confidence, unmatched=unmatched)


def load_detections(
    rig: CameraRig,
    tables: Mapping[str, Path],
    frame_sets: Mapping[str, CameraFrames] | None = None,
    fps: float | None = None,
) -> Detections:
    """Load a table per camera and match people across views and over time.

    Tables are of `sonjit hands|face|body|holistic --save`; images of equal number belong to one frame set. Tables of
    hands describe one person, of each side the hand with the highest score. If no image shows two bodies (faces,
    people), they belong to one person. `fps` is for folders of images, whose tables have no times.
    """
    notes: list[str] = []
    frames_by_view: dict[int, list[Frame]] = {}
    for name, path in tables.items():
        header, frames_by_view[rig.index(name)] = load_frames(path)
        camera = rig[name]
        notes += redundant_facts.image_size_notes(name, (header.width, header.height), (camera.width, camera.height))
    for view, frames in frames_by_view.items():
        _assign_frame_sets(frames, None if frame_sets is None else frame_sets[rig.names[view]])
    every_frame = [frame for frames in frames_by_view.values() for frame in frames]
    list_names = [name for name in _LIST_NAMES if any(frame.results(name) for frame in every_frame)]
    files = ", ".join(str(path) for path in tables.values())[:80]
    if not list_names:
        raise InputError(f"{files}: no detections; choose tables with hands, faces, bodies or people")
    if len(list_names) > 1:
        raise InputError(f"{' and '.join(list_names)} in {files}; choose tables of one kind")
    numbers = sorted({frame.index for frame in every_frame})
    rows = {number: row for row, number in enumerate(numbers)}
    times = np.full((len(rig), len(numbers)), np.nan)
    people = [[list[_Person]() for _ in rig] for _ in numbers]
    for view, frames in frames_by_view.items():
        for frame in frames:
            times[view, rows[frame.index]] = np.nan if frame.time is None else frame.time
            people[rows[frame.index]][view] = list(_people_in(frame, list_names[0]))
    times_s = medians(times)
    if fps is not None:
        if not 0 < fps < math.inf:
            raise InputError(f"--fps {fps:g}: give frames per second, above 0")
        if np.isfinite(times).any():
            raise InputError("--fps applies only to tables without times, such as those of images")
        times_s = np.array(frame_positions(numbers)) / fps
    if frame_sets is None:
        notes += redundant_facts.clock_notes(rig.names, numbers, times)
    return replace(_match_people(rig, tuple(numbers), times_s, people), notes=tuple(notes))


def _assign_frame_sets(frames: list[Frame], camera_frames: CameraFrames | None) -> None:
    """Set each frame's index and time to those of its frame set, and remove frames of none."""
    names = [frame.source for frame in frames]
    if all(name is not None for name in names) and len(set(names)) == len(names):
        for frame, number in zip(frames, frame_numbers([Path(str(name)) for name in names]), strict=True):
            frame.index = number
    elif len(set(names)) > 1:
        raise InputError(f"a camera's table describes several files, such as {names[0]}: save a table of one video")
    if camera_frames is None:
        return
    frames[:] = [frame for frame in frames if frame.index in camera_frames.frame_sets]
    for frame in frames:
        frame.index = camera_frames.frame_sets[frame.index]
        frame.time = camera_frames.times_s[frame.index] if camera_frames.times_s else frame.time


def _people_in(frame: Frame, list_name: str) -> Iterator[_Person]:
    if list_name == "hands":
        best = {hand.handedness: hand for hand in sorted(frame.hands, key=lambda hand: hand.score)}
        if best:
            yield {_part_of(hand): hand for hand in best.values()}
    elif list_name == "people":
        for person in frame.people:
            hands = {HANDS[side]: hand for side, hand in enumerate((person.right_hand, person.left_hand)) if hand}
            others = [part for part in (person.body, person.face) if part is not None]
            yield {_part_of(instance): instance for instance in others} | hands
    else:
        for instance in frame.bodies if list_name == "bodies" else frame.faces:
            yield {_part_of(instance): instance}


def _part_of(instance: Instance) -> Part:
    if isinstance(instance, Hand):
        return HANDS[SIDES.index(instance.handedness)]
    return Part(instance.list_name, instance.skeleton.name)


def _match_people(
    rig: CameraRig, frames: tuple[int, ...], times_s: FloatArray, people_by_view: Sequence[Sequence[Sequence[_Person]]]
) -> Detections:
    images = [people for views in people_by_view for people in views]
    person_parts = {part for people in images for person in people for part in person}
    ranks = {
        part: (LIST_ORDER.index(part.list_name), part.handedness != "Right", part.skeleton) for part in person_parts
    }
    parts = tuple(sorted(person_parts, key=ranks.__getitem__))
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
    points = np.full((len(rig), len(frames), count, sum(part.size for part in parts), 2), np.nan)
    confidence = np.zeros(points.shape[:-1])
    for row, views in enumerate(people_by_view):
        for view, people in enumerate(views):
            for person, number in zip(people, identities[row][view], strict=True):
                for part, keypoints in part_slices(parts):
                    if number >= 0 and part in person:
                        instance = person[part]
                        points[view, row, number, keypoints] = instance.keypoints[:, :2]
                        weight = instance.visibility if isinstance(instance, Body) else 1
                        confidence[view, row, number, keypoints] = instance.score * weight
    return Detections(parts, frames, times_s, points, confidence, tuple(unmatched))


def _identities(
    rig: CameraRig,
    frames: tuple[int, ...],
    times_s: FloatArray,
    parts: tuple[Part, ...],
    people_by_view: Sequence[Sequence[Sequence[_Person]]],
) -> tuple[list[list[list[int]]], list[int]]:
    """Return the index of the person of each detection, or -1, and the number of unassigned ones of each view."""
    part = parts[0]  # bodies identify best, and people have one
    compared = np.unique(np.linspace(0, part.size - 1, min(part.size, _COMPARED_KEYPOINTS)).round().astype(int))
    known_when, places = np.isfinite(times_s).all(), frame_positions(frames)
    tracker, counts = association.Tracker(), dict[int, int]()
    identities = [[[-1] * len(people) for people in views] for views in people_by_view]
    for row, views in enumerate(people_by_view):
        positions = [(view, which) for view, people in enumerate(views) for which in range(len(people))]
        if len(positions) < 2:
            continue
        matches = _match_views(rig, [(view, views[view][which][part]) for view, which in positions], compared)
        time = float(times_s[row]) if known_when else places[row] * _DEFAULT_STEP_S
        assigned = tracker.assign(time, [group.points_m for group in matches])
        for group, number in zip(matches, assigned, strict=True):
            counts[number] = counts.get(number, 0) + 1
            for index in group.rows.tolist():
                view, which = positions[index]
                identities[row][view][which] = number
    min_count = min(_MIN_FRAME_SETS, len(frames))
    persons = [number for number, count in sorted(counts.items()) if count >= min_count]
    new_numbers = {number: index for index, number in enumerate(persons)}
    identities = [[[new_numbers.get(number, -1) for number in numbers] for numbers in views] for views in identities]
    return identities, [sum(numbers.count(-1) for numbers in column) for column in zip(*identities, strict=True)]


def _match_views(
    rig: CameraRig, instances: Sequence[tuple[int, Instance]], compared: IndexArray
) -> list[association.Group]:
    """Return the groups of instances of one person that enough views agree on, by the compared keypoints."""
    points = np.stack([instance.keypoints[:, :2].astype(np.float64) for _, instance in instances])
    for row, (_, instance) in enumerate(instances):
        if isinstance(instance, Body):
            points[row, instance.visibility < _MIN_VISIBILITY] = np.nan  # networks guess occluded ones
    score = np.array([max(instance.score, 1e-3) for _, instance in instances])
    groups = association.group_views(rig, np.array([view for view, _ in instances]), points[:, compared], score)
    return [group for group in groups if group.support >= _MIN_SUPPORT]


def fit_constant_bones(
    rig: CameraRig, detections: Detections, triangulated: triangulation.Triangulation
) -> triangulation.Triangulation:
    """Fit people (F, N, K), without faces, with constant bones and limited acceleration; gaps up to 0.5 s are filled.

    `inlier` stays that of the triangulation.
    """
    if not any(len(part.bones) for part in detections.parts):
        raise InputError("--constant-bones applies only to hands and bodies")
    if not (np.diff(detections.times_s) > 0).all():
        raise InputError(
            "--constant-bones requires the times of frame sets: give --fps, or --frame-sets "
            "of sonjit annotate sync --stamps"
        )
    points, covariance, residual = (
        triangulated.points_m.copy(),
        triangulated.covariance_m2.copy(),
        triangulated.residual_px.copy(),
    )
    for part, keypoints in part_slices(detections.parts):
        if len(part.bones):
            pooled = _pooled_covariances(rig, triangulated, keypoints)
            for person in range(points.shape[1]):
                joints = points[:, person, keypoints]
                hand = part.list_name == "hands"
                lengths_m = regularized_lengths(joints) if hand else medians(bone_lengths(joints, part.bones))
                fitted = fit_skeletons(
                    joints,
                    pooled[:, person],
                    lengths_m,
                    detections.times_s,
                    bones=part.bones,
                    acceleration=_GESTURE_ACCELERATION,
                    redescending=False,
                )
                points[:, person, keypoints] = enforce_lengths(fitted.points_m, lengths_m, part.bones)
                covariance[:, person, keypoints] = fitted.covariance_m2
            difference = rig.project(points[:, :, keypoints]) - detections.points_px[:, :, :, keypoints]
            residual[..., keypoints] = np.linalg.norm(difference, axis=-1)
    return triangulation.Triangulation(
        points, covariance, residual, triangulated.inlier, np.asarray(np.isfinite(points).all(-1), np.bool_)
    )


def _pooled_covariances(rig: CameraRig, triangulated: triangulation.Triangulation, keypoints: slice) -> FloatArray:
    """Return covariances (F, N, J, 3, 3) for the noise of all joints of a part; two views fix no single joint's."""
    ok, inlier = triangulated.ok[..., keypoints], triangulated.inlier[..., keypoints]
    squares = np.where(inlier, triangulated.residual_px[..., keypoints] ** 2, 0).sum(0)
    freedom = 2 * inlier.sum(0) - 3
    noise_px2 = max(1.0, float(squares[ok].sum() / max(freedom[ok].sum(), 1)))
    points = triangulated.points_m[..., keypoints, :]
    weights = inlier.reshape(len(rig), -1).astype(np.float64)
    covariance = triangulation.covariances(
        triangulation.camera_arrays(rig), points.reshape(-1, 3), np.zeros_like(weights), weights
    )
    return noise_px2 * covariance.reshape(*points.shape, 3)


def save_people(path: Path, rig: CameraRig, detections: Detections, triangulated: triangulation.Triangulation) -> None:
    """Write people in space, triangulated as points (F, N, K), as JSON.

    `{"unit": "m", "up", "cameras": [names], "skeletons": {list: name}, "frames": [{"index", "time" s, LIST: [{"id",
    "handedness" of hands, "keypoints_m" J x 3, "spread_mm" J, "residual_px" {camera: J}, "views" J}]}]}`, where LIST is
    hands, faces or bodies and an id, from 1, is one person's in all lists and frame sets. Unknown values are null.
    `up` is z or -y, see `is_z_up`, `spread_mm` the root of the covariance's trace, `views` the number of inlier views.
    """
    std_mm = triangulated.std_m * 1000
    skeletons = {part.list_name: part.skeleton for part in detections.parts}
    records: list[dict[str, object]] = []
    for row, number in enumerate(detections.frames):
        lists: dict[str, list[dict[str, object]]] = {name: [] for name in skeletons}
        for person in range(triangulated.ok.shape[1]):
            for part, keypoints in part_slices(detections.parts):
                entry = row, person, keypoints
                if triangulated.ok[entry].any():
                    residual = {
                        name: _plain(triangulated.residual_px[view][entry], 2) for view, name in enumerate(rig.names)
                    }
                    lists[part.list_name].append(
                        {
                            "id": person + 1,
                            **({"handedness": part.handedness} if part.handedness else {}),
                            "keypoints_m": _plain(triangulated.points_m[entry], 6),
                            "spread_mm": _plain(std_mm[entry], 3),
                            "residual_px": residual,
                            "views": triangulated.inlier[:, row, person, keypoints].sum(0).tolist(),
                        }
                    )
        records.append({"index": number, "time": _plain(detections.times_s[row], 6), **lists})
    world = {"unit": "m", "up": "z" if is_z_up(rig) else "-y", "cameras": list(rig.names)}
    data_files.write_json(path, {**world, "skeletons": skeletons, "frames": records})


def _plain(values: FloatArray, digits: int) -> Any:  # noqa: ANN401  # nested lists
    """Convert to a number or nested lists, with null for unknown values."""
    rounded = np.asarray(np.round(values, digits)).astype(object)
    rounded[~np.isfinite(values)] = None
    return rounded.tolist()


@dataclass(frozen=True, eq=False)
class PeopleInSpace:
    """People over a recording."""

    parts: tuple[Part, ...]
    people: tuple[int, ...]  # (N,) ids of the people
    frames: IndexArray  # (F,) numbers of the frame sets, ascending
    times_s: FloatArray  # (F,) times in seconds
    points_m: FloatArray  # (F, N, K, 3) keypoints in metres, NaN where unknown
    z_up: bool = False  # True if z points up in their world; otherwise y points down

    def rows(self) -> Rows:
        """Return rows with a constant step over the recording, for formats with one rate.

        Numbers of frame sets may be labels, such as time stamps, so that only times determine the rows.
        """
        return rows_of_frames(self.times_s, omits=False)

    def every_frame(self) -> tuple[Rows, FloatArray]:
        """Return rows with a constant step and their points (M, N K, 3), NaN where frame sets are missing.

        Between two frame sets whose times are further apart, as at a variable rate, points are interpolated.
        """
        rows, gaps = self.rows(), np.diff(self.frames)
        are_neighbours = gaps == 1 if (gaps == 1).any() else np.diff(self.times_s) < 1.5 * rows.step_s
        points = self.points_m.reshape(len(self.frames), -1, 3)
        return rows, points_at(points, self.times_s, rows, np.asarray(are_neighbours, np.bool_))

    def each_part(self) -> Iterator[tuple[int, Part, FloatArray]]:
        """Iterate over each person's id, part, and points (F, J, 3)."""
        for index, person in enumerate(self.people):
            for part, keypoints in part_slices(self.parts):
                yield person, part, self.points_m[:, index, keypoints]


def load_people(path: Path) -> PeopleInSpace:
    """Load a file of `save_people`."""
    content = data_files.read_json(path)
    records: Any = field(content, "frames", str(path))
    skeletons: Any = field(content, "skeletons", str(path))
    try:
        frames = np.array([int(entry["index"]) for entry in records], np.intp)
        times = np.array([entry.get("time") for entry in records], np.float64)  # None becomes NaN
        people, parts, points = _people_of_records(records, skeletons)
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} is not a file of sonjit annotate triangulate ({error})") from None
    if not np.isfinite(points).any() or (np.diff(frames) <= 0).any():
        raise InputError(f"{path} contains no people, or its frame sets are not in order")
    if not np.isfinite(times).all():
        raise InputError(f"{path} has no times of its frame sets: triangulate with --fps")
    if not (np.diff(times) > 0).all():
        raise InputError(f"{path}: the times of the frame sets do not ascend; triangulate tables with ascending times")
    by_part = ((part, points[..., keypoints, :]) for part, keypoints in part_slices(parts))
    present_parts, finite = zip(
        *((part, part_points) for part, part_points in by_part if np.isfinite(part_points).any()), strict=True
    )
    return PeopleInSpace(
        present_parts, tuple(people), frames, times, np.concatenate(finite, 2), content.get("up") == "z"
    )


def _people_of_records(
    records: Sequence[Any], skeletons: Mapping[str, str]
) -> tuple[list[int], tuple[Part, ...], FloatArray]:
    """Return the ids of P people, their parts, and their points (F, P, J, 3) in the records of F frame sets."""
    parts: list[Part] = []
    for name in sorted(skeletons, key=LIST_ORDER.index):
        parts += HANDS if name == "hands" else [Part(name, skeletons[name])]
    people = sorted({entry["id"] for frame in records for name in skeletons for entry in frame[name]})
    points = np.full((len(records), len(people), sum(part.size for part in parts), 3), np.nan)
    for row, frame in enumerate(records):
        for part, keypoints in part_slices(parts):
            for entry in frame[part.list_name]:
                if entry.get("handedness", "") == part.handedness:
                    points[row, people.index(entry["id"]), keypoints] = np.array(entry["keypoints_m"], np.float64)
    return people, tuple(parts), points
