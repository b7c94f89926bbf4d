"""People in space: the hands, faces and bodies that tables of several cameras hold, who is who in all of them, the fit
of bones of constant length, and the file.

A person is an array of keypoints, part after part: as far as tables hold them, body, right hand, left hand and face.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from sonjit.arrays import FloatArray, IndexArray
from sonjit.datasets.reading import field, load_json
from sonjit.errors import InputError
from sonjit.files import write_text
from sonjit.media import load_frames
from sonjit.multiview.cameras.frame_sets import CameraFrames
from sonjit.multiview.cameras.rig import CameraRig
from sonjit.multiview.cameras.views import frame_numbers
from sonjit.multiview.triangulation.association import Tracker, group_views
from sonjit.multiview.triangulation.bones import (
    FITTED_BONES,
    SIDES,
    fit_skeletons,
    fitted_lengths,
    likely_lengths,
    medians,
    with_exact_lengths,
)
from sonjit.multiview.triangulation.camera_arrays import camera_arrays
from sonjit.multiview.triangulation.triangulation import Triangulation, covariances
from sonjit.results import Body, Frame, Hand, Instance
from sonjit.skeletons import load_skeleton

_BODY: Final = load_skeleton("body_blazepose33")
_LIMBS: Final = np.array([(a, b) for a, b in _BODY.bones if _BODY.index("left_shoulder") <= a < b])
"""(18, 2) parents first: across the shoulders and down the arms, across the hips and down the legs. Spines bend."""


class Part(NamedTuple):
    """What of a person one network finds.

    Attributes:
        list_name: hands, faces or bodies, as in `Frame`.
        skeleton: name of the convention of its keypoints.
        handedness: Right or Left of hands, else "".
    """

    list_name: str
    skeleton: str
    handedness: str = ""

    @property
    def name(self) -> str:
        """right_hand, left_hand, face or body."""
        return f"{self.handedness.lower()}_hand" if self.handedness else _NAMES[self.list_name]

    @property
    def size(self) -> int:
        """How many keypoints it has."""
        return len(load_skeleton(self.skeleton).keypoints)

    @property
    def bones(self) -> IndexArray:
        """(B, 2) parent and child of bones that keep their lengths, parents first."""
        if self.list_name == "hands":
            return FITTED_BONES
        return _LIMBS if self.list_name == "bodies" else np.zeros((0, 2), np.intp)


RIGHT_HAND, LEFT_HAND = HANDS = tuple(Part("hands", "hand_mediapipe21", side) for side in SIDES)
_ORDER: Final = ("bodies", "hands", "faces")
_NAMES: Final = {"bodies": "body", "faces": "face"}


def slices(parts: Sequence[Part]) -> Iterator[tuple[Part, slice]]:
    """Where in a person's keypoints each part is."""
    first = 0
    for part in parts:
        yield part, slice(first, first + part.size)
        first += part.size


@dataclass(frozen=True, eq=False)
class Detections:
    """What C cameras detected of N people in F frame sets.

    Attributes:
        parts: of every person, in the order of keypoints, K together.
        frames: (F,) numbers of the frame sets, rising.
        times_s: (F,) when they were taken, medians over the cameras; NaN where no table says so.
        points_px: (C, F, N, K, 2) NaN without.
        confidence: (C, F, N, K) weights of them: scores, of bodies times the visibility.
        unmatched: (C,) how many detections of each view fitted no other view's and are left out.
    """

    parts: tuple[Part, ...]
    frames: tuple[int, ...]
    times_s: FloatArray
    points_px: FloatArray
    confidence: FloatArray
    unmatched: tuple[int, ...] = ()

    def of_cameras(self, rows: Sequence[int]) -> Detections:
        """What some of the cameras detected."""
        return Detections(
            self.parts, self.frames, self.times_s, self.points_px[list(rows)], self.confidence[list(rows)],
            tuple(self.unmatched[row] for row in rows) if self.unmatched else (),
        )  # fmt: skip


_Found = Mapping[Part, Instance]
"""A person in one image."""

_LISTS: Final = ("people", "bodies", "faces", "hands")


def load_detections(
    rig: CameraRig,
    tables: Mapping[str, Path],
    frame_sets: Mapping[str, CameraFrames] | None = None,
    fps: float | None = None,
) -> Detections:
    """Read a table per camera and match people across views and over time.

    Tables of hands are of one person: of several hands of one side in an image the one with the highest score counts.
    Where no image shows two bodies (faces, people) they are of one person too.

    Args:
        rig: cameras; those without a table have seen nothing.
        tables: written by `sonjit hands|face|body|holistic --save`, by camera; the same frame of a video, or images of
            the same number, are of the same frame set in all.
        frame_sets: by camera, which frame set each image is of, where numbers do not say so.
        fps: numbers of frame sets in a second, of folders of images, whose tables do not say when they were taken.

    Raises:
        InputError: a table cannot be read, none holds anything, they are of several kinds, or `fps` is not above 0 or
            of tables that say when.
    """
    read = {rig.index(name): load_frames(path)[1] for name, path in tables.items()}
    for view, frames in read.items():
        _number(frames, None if frame_sets is None else frame_sets[rig.names[view]])
    kinds = [kind for kind in _LISTS if any(frame.results(kind) for frames in read.values() for frame in frames)]
    files = ", ".join(str(path) for path in tables.values())[:80]
    if not kinds:
        raise InputError(f"nothing in {files}: name tables of hands, faces, bodies or people that were found")
    if len(kinds) > 1:
        raise InputError(f"{' and '.join(kinds)} in {files}: name tables of one kind")
    (kind,) = kinds
    numbers = sorted({frame.index for frames in read.values() for frame in frames})
    rows = {number: row for row, number in enumerate(numbers)}
    times = np.full((len(rig), len(numbers)), np.nan)
    found = [[list[_Found]() for _ in rig] for _ in numbers]
    for view, frames in read.items():
        for frame in frames:
            times[view, rows[frame.index]] = np.nan if frame.time is None else frame.time
            found[rows[frame.index]][view] = list(_people_in(frame, kind))
    return _matched(rig, tuple(numbers), medians(times) if fps is None else _at_rate(numbers, times, fps), found)


def _at_rate(numbers: Sequence[int], told_s: FloatArray, fps: float) -> FloatArray:
    """(F,) when frame sets were taken, where no table tells (C, F)."""
    if not 0 < fps < math.inf:
        raise InputError(f"--fps {fps:g}: give frames per second, above 0")
    if np.isfinite(told_s).any():
        raise InputError("--fps is for images, and these tables say when their frames were taken: leave it out")
    return np.array(numbers) / fps


def _number(frames: list[Frame], matched: CameraFrames | None) -> None:
    """Make each frame's index and time those of its frame set; leave out frames of none."""
    names = [frame.source for frame in frames]
    if all(name is not None for name in names) and len(set(names)) == len(names):
        for frame, number in zip(frames, frame_numbers([Path(str(name)) for name in names]), strict=True):
            frame.index = number
    if matched is None:
        return
    frames[:] = [frame for frame in frames if frame.index in matched.frame_sets]
    for frame in frames:
        frame.index = matched.frame_sets[frame.index]
        frame.time = matched.times_s[frame.index] if matched.times_s else frame.time


def _people_in(frame: Frame, kind: str) -> Iterator[_Found]:
    if kind == "hands":
        best = {hand.handedness: hand for hand in sorted(frame.hands, key=lambda hand: hand.score)}
        if best:
            yield {_part_of(hand): hand for hand in best.values()}
    elif kind == "people":
        for person in frame.people:
            given = {HANDS[side]: hand for side, hand in enumerate((person.right_hand, person.left_hand)) if hand}
            rest = [part for part in (person.body, person.face) if part is not None]
            yield {**{_part_of(one): one for one in rest}, **given}
    else:
        for one in frame.bodies if kind == "bodies" else frame.faces:
            yield {_part_of(one): one}


def _part_of(one: Instance) -> Part:
    return HANDS[SIDES.index(one.handedness)] if isinstance(one, Hand) else Part(one.list_name, one.skeleton.name)


def _matched(
    rig: CameraRig, frames: tuple[int, ...], times_s: FloatArray, found: Sequence[Sequence[Sequence[_Found]]]
) -> Detections:
    """The people of F frame sets of C views."""
    parts = tuple(
        sorted(
            {part for views in found for people in views for person in people for part in person},
            key=lambda part: (_ORDER.index(part.list_name), part.handedness != "Right", part.skeleton),
        )
    )
    if any(part.list_name == other.list_name == "faces" for part in parts for other in parts if part != other):
        names = ", ".join(part.skeleton for part in parts if part.list_name == "faces")
        raise InputError(f"faces of several models ({names}): find them with one model in all views")
    several = any(len(people) > 1 for views in found for people in views)
    chosen, unmatched = _identities(rig, frames, times_s, parts, found) if several else (_alone(found), [0] * len(rig))
    count = 1 + max((number for views in chosen for numbers in views for number in numbers), default=-1)
    if not count:
        raise InputError("nobody is seen alike by two views: are the cameras those of the tables?")
    size = sum(part.size for part in parts)
    points = np.full((len(rig), len(frames), count, size, 2), np.nan)
    confidence = np.zeros(points.shape[:-1])
    for row, views in enumerate(found):
        for view, people in enumerate(views):
            for person, number in zip(people, chosen[row][view], strict=True):
                if number >= 0:
                    points[view, row, number], confidence[view, row, number] = _values(parts, person)
    return Detections(parts, frames, times_s, points, confidence, tuple(unmatched))


def _values(parts: Sequence[Part], person: _Found) -> tuple[FloatArray, FloatArray]:
    """(K, 2) pixels and (K,) confidences of one person in one view."""
    size = sum(part.size for part in parts)
    points, confidence = np.full((size, 2), np.nan), np.zeros(size)
    for part, own in slices(parts):
        if part in person:
            one = person[part]
            points[own] = one.keypoints[:, :2]
            confidence[own] = one.score * (one.visibility if isinstance(one, Body) else 1)
    return points, confidence


def _alone(found: Sequence[Sequence[Sequence[_Found]]]) -> list[list[list[int]]]:
    return [[[0] * len(people) for people in views] for views in found]


_SEEN: Final = 0.5  # visibility from which a keypoint of a body tells who it is
_COMPARED: Final = 33  # keypoints that tell who it is: all of a body's, some of a face's
_ALIKE: Final = 0.4  # support of a group that is one person: two views of different people may come near each other
_FEWEST_SETS: Final = 3  # frame sets in which somebody is matched who is there
_USUAL_STEP_S: Final = 1 / 30


def _identities(
    rig: CameraRig,
    frames: tuple[int, ...],
    times_s: FloatArray,
    parts: tuple[Part, ...],
    found: Sequence[Sequence[Sequence[_Found]]],
) -> tuple[list[list[list[int]]], list[int]]:
    """For each detection whose it is, from 0, or -1; how many of each view are nobody's."""
    part = parts[0]  # bodies tell best; people have one
    asked = np.unique(np.linspace(0, part.size - 1, min(part.size, _COMPARED)).round().astype(int))
    known_when = np.isfinite(times_s).all()
    tracker, seen = Tracker(), dict[int, int]()
    chosen = [[[-1] * len(people) for people in views] for views in found]
    for row, views in enumerate(found):
        at = [(view, which) for view, people in enumerate(views) for which in range(len(people))]
        ones = [found[row][view][which][part] for view, which in at]
        if len(ones) < 2:
            continue
        points = np.stack([_telling(one)[asked] for one in ones])
        score = np.array([max(one.score, 1e-3) for one in ones])
        alike = [
            group
            for group in group_views(rig, np.array([view for view, _ in at]), points, score)
            if group.support >= _ALIKE
        ]
        time = float(times_s[row]) if known_when else frames[row] * _USUAL_STEP_S
        for group, number in zip(alike, tracker.assign(time, [one.points_m for one in alike]), strict=True):
            seen[number] = seen.get(number, 0) + 1
            for place in group.rows.tolist():
                view, which = at[place]
                chosen[row][view][which] = number
    fewest = min(_FEWEST_SETS, len(frames))
    stays = [number for number, count in sorted(seen.items()) if count >= fewest]
    there = {number: place for place, number in enumerate(stays)}
    chosen = [[[there.get(number, -1) for number in numbers] for numbers in views] for views in chosen]
    return chosen, [sum(numbers.count(-1) for numbers in column) for column in zip(*chosen, strict=True)]


def _telling(one: Instance) -> FloatArray:
    """(K, 2) the keypoints that tell who it is; NaN for hidden ones, which networks guess."""
    points = one.keypoints[:, :2].astype(np.float64)
    if isinstance(one, Body):
        points[one.visibility < _SEEN] = np.nan
    return points


_QUICK: Final = 16.0  # m/s² of gestures in front of few cameras, where smoothness is all that tells depth from noise


def with_constant_bones(rig: CameraRig, seen: Detections, found: Triangulation) -> Triangulation:
    """The same people with bones of one length throughout, moving as hands can; faces have no bones and stay.

    Joints that were lost for up to half a second are between those around; `inlier` stays what was triangulated.

    Args:
        rig: C cameras.
        seen: by them.
        found: of points (F, N, K) from them.

    Raises:
        InputError: it is not known when the frame sets were taken, or the tables hold faces alone.
    """
    if not any(len(part.bones) for part in seen.parts):
        raise InputError("faces have no bones: leave --constant-bones out")
    if not (np.diff(seen.times_s) > 0).all():
        raise InputError(
            "constant bones need the times of frame sets, which these tables do not say: give --fps, or --frame-sets "
            "of sonjit annotate sync --stamps"
        )
    points, covariance, residual = found.points_m.copy(), found.covariance_m2.copy(), found.residual_px.copy()
    for part, own in slices(seen.parts):
        if len(part.bones):
            spread = _spread(rig, found, own)
            for person in range(points.shape[1]):
                joints = points[:, person, own]
                hand = part.list_name == "hands"
                lengths_m = likely_lengths(joints) if hand else medians(fitted_lengths(joints, part.bones))
                fitted = fit_skeletons(
                    joints, spread[:, person], lengths_m, seen.times_s,
                    bones=part.bones, acceleration=_QUICK, gives_way=False,
                )  # fmt: skip
                points[:, person, own] = with_exact_lengths(fitted.points_m, lengths_m, part.bones)
                covariance[:, person, own] = fitted.covariance_m2
            gap = rig.project(points[:, :, own]) - seen.points_px[:, :, :, own]
            residual[..., own] = np.linalg.norm(gap, axis=-1)
    return Triangulation(points, covariance, residual, found.inlier, np.asarray(np.isfinite(points).all(-1), np.bool_))


def _spread(rig: CameraRig, found: Triangulation, own: slice) -> FloatArray:
    """(F, N, J, 3, 3) covariance of a part's joints for the noise of all of them: two views alone tell it of none."""
    ok, inlier = found.ok[..., own], found.inlier[..., own]
    squares = np.where(inlier, found.residual_px[..., own] ** 2, 0).sum(0)
    freedom = 2 * inlier.sum(0) - 3
    noise_px2 = max(1.0, float(squares[ok].sum() / max(freedom[ok].sum(), 1)))
    points = found.points_m[..., own, :]
    weights = inlier.reshape(len(rig), -1).astype(np.float64)
    spread = covariances(camera_arrays(rig), points.reshape(-1, 3), np.zeros_like(weights), weights)
    return noise_px2 * spread.reshape(*points.shape, 3)


def save_people(path: Path, rig: CameraRig, seen: Detections, found: Triangulation) -> None:
    """Write people in space as JSON.

    `{"unit": "m", "cameras": [names], "skeletons": {list: name}, "frames": [{"index", "time" s, LIST: [{"id",
    "handedness" of hands, "keypoints_m" J x 3, "spread_mm" J, "residual_px" {camera: J}, "views" J}]}]}`, where LIST is
    hands, faces or bodies and an id, from 1, is one person's in all lists and frame sets; what is unknown is null.
    `spread_mm` is the root of the covariance's trace, `views` how many agree.

    Args:
        path: file to write.
        rig: cameras.
        seen: of F frame sets.
        found: of points (F, N, K).
    """
    spread = np.sqrt(np.trace(found.covariance_m2, axis1=-2, axis2=-1)) * 1000
    skeletons = {part.list_name: part.skeleton for part in seen.parts}
    written: list[dict[str, object]] = []
    for row, number in enumerate(seen.frames):
        lists: dict[str, list[dict[str, object]]] = {name: [] for name in skeletons}
        for person in range(found.ok.shape[1]):
            for part, own in slices(seen.parts):
                at = row, person, own
                if found.ok[at].any():
                    residual = {name: _plain(found.residual_px[view][at], 2) for view, name in enumerate(rig.names)}
                    lists[part.list_name].append({
                        "id": person + 1,
                        **({"handedness": part.handedness} if part.handedness else {}),
                        "keypoints_m": _plain(found.points_m[at], 6),
                        "spread_mm": _plain(spread[at], 3),
                        "residual_px": residual,
                        "views": found.inlier[:, row, person, own].sum(0).tolist(),
                    })  # fmt: skip
        written.append({"index": number, "time": _plain(seen.times_s[row], 6), **lists})
    content = {"unit": "m", "cameras": list(rig.names), "skeletons": skeletons, "frames": written}
    write_text(path, json.dumps(content) + "\n")


def _plain(values: FloatArray, digits: int) -> Any:  # noqa: ANN401  # nested lists
    """A number or lists, with null for what is unknown."""
    rounded = np.asarray(np.round(values, digits)).astype(object)
    rounded[~np.isfinite(values)] = None
    return rounded.tolist()


@dataclass(frozen=True, eq=False)
class PeopleInSpace:
    """People over a recording.

    Attributes:
        parts: that somebody has, in the order of keypoints, K together.
        people: (N,) their ids.
        frames: (F,) numbers of the frame sets, rising.
        times_s: (F,) when they were taken.
        points_m: (F, N, K, 3) NaN where unknown.
    """

    parts: tuple[Part, ...]
    people: tuple[int, ...]
    frames: IndexArray
    times_s: FloatArray
    points_m: FloatArray

    @cached_property
    def step_s(self) -> float:
        """Median time from one frame set to the next, over half the recording: times are rounded to microseconds."""
        if len(self.frames) < 2:
            return _USUAL_STEP_S
        half = len(self.frames) // 2
        return float(
            np.median((self.times_s[half:] - self.times_s[:-half]) / (self.frames[half:] - self.frames[:-half]))
        )

    def every_frame(self) -> tuple[FloatArray, FloatArray]:
        """(M,) seconds and (M, N K, 3) metres from the first frame set to the last, also of those that are missing."""
        rows = self.frames - self.frames[0]
        points = np.full((int(rows[-1]) + 1, self.points_m[0, ..., 0].size, 3), np.nan)
        points[rows] = self.points_m.reshape(len(rows), -1, 3)
        return self.times_s[0] + self.step_s * np.arange(len(points)), points

    def each_part(self) -> Iterator[tuple[int, Part, FloatArray]]:
        """A person's id, a part, and its points (F, J, 3)."""
        for place, person in enumerate(self.people):
            for part, own in slices(self.parts):
                yield person, part, self.points_m[:, place, own]


def load_people(path: Path) -> PeopleInSpace:
    """What `save_people` wrote.

    Raises:
        InputError: it cannot be read, holds nobody, or does not say when its frame sets were taken.
    """
    content = load_json(path)
    written: Any = field(content, "frames", str(path))
    skeletons: Any = field(content, "skeletons", str(path))
    try:
        frames = np.array([int(one["index"]) for one in written], np.intp)
        times = np.array([np.nan if (time := one.get("time")) is None else time for one in written], np.float64)
        parts = tuple(
            part
            for name in sorted(skeletons, key=_ORDER.index)
            for part in (HANDS if name == "hands" else (Part(name, skeletons[name]),))
        )
        people = sorted({one["id"] for frame in written for name in skeletons for one in frame[name]})
        points = np.full((len(frames), len(people), sum(part.size for part in parts), 3), np.nan)
        for row, frame in enumerate(written):
            for part, own in slices(parts):
                for one in frame[part.list_name]:
                    if one.get("handedness", "") == part.handedness:
                        points[row, people.index(one["id"]), own] = np.array(one["keypoints_m"], np.float64)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not people in space as sonjit annotate triangulate writes them ({error})") from None
    if not np.isfinite(points).any() or (np.diff(frames) <= 0).any():
        raise InputError(f"{path}: it holds nobody, or its frame sets are not in order")
    if not np.isfinite(times).all():
        raise InputError(f"{path}: it does not say when its frame sets were taken: triangulate with --fps")
    seen = [(part, own) for part, own in slices(parts) if np.isfinite(points[..., own, :]).any()]
    known = np.concatenate([points[..., own, :] for _, own in seen], 2)
    return PeopleInSpace(tuple(part for part, _ in seen), tuple(people), frames, times, known)
