"""The state of a frame set as JSON: marks, joints in space, their projections into every view, warnings.

Images of a project as JPEG: whole ones made smaller, or a part at full size; what was decoded last is kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import FloatArray, Image
from sonjit.multiview.annotation.agreement import Agreement, agreement, conflicts
from sonjit.multiview.annotation.marks import (
    MACHINE,
    PER_HAND,
    Mark,
    MarkRecord,
    SolvedJoints,
    epipolar_lines,
    joint_names,
    mark_to_dict,
    solve_joints,
    table_of_marks,
)
from sonjit.multiview.automatic.annotator import machine_marks
from sonjit.multiview.triangulation.bones import BONES, BoneLengths, bone_lengths, bone_warnings
from sonjit.server.errors import RefusedError

if TYPE_CHECKING:
    from sonjit.multiview.annotation.project import Project


class ViewRecord(TypedDict):
    """A camera of the project; `missing` are frames without an image."""

    name: str
    width: int
    height: int
    rotation: list[list[float]]
    translation_m: list[float]
    missing: tuple[int, ...]


class ProjectState(TypedDict):
    """The answer of `GET /v1/annotate`."""

    name: str
    frames: tuple[int, ...]
    views: list[ViewRecord]
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    annotators: list[str]
    version: int


class ConflictRecord(TypedDict):
    """A joint of one view on which annotators disagree; `apart_px` is null where one says that it is absent."""

    view: str
    joint: int
    annotators: list[str]
    apart_px: float | None


class BoneRecord(TypedDict):
    """A bone of an unlikely length."""

    bone: tuple[int, int]
    length_mm: float
    expected_mm: float
    against: str


class JointsRecord(TypedDict):
    """Joints in space, and by view; null where unknown."""

    points_m: list[Any]
    sigma_mm: list[float | None]
    projected: dict[str, list[Any]]
    residuals_px: dict[str, list[float | None]]


class FrameState(JointsRecord):
    """One frame set as one annotator sees it."""

    frame: int
    version: int
    marks: list[MarkRecord]
    others: list[MarkRecord]
    machine: list[MarkRecord]
    conflicts: list[ConflictRecord]
    lines: dict[str, list[Any]]
    bones: list[BoneRecord]


class NeedRecord(TypedDict):
    """How much a frame needs attention, and why."""

    score: float
    why: str


class Progress(TypedDict):
    """Joints that can be triangulated by frame, of `joints` of the hands that people mark; and the ranking."""

    version: int
    joints: int
    frames: dict[int, int]
    needs: dict[int, NeedRecord]


class Frames:
    """A project's frame sets as JSON.

    Args:
        project: whose.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._bones = BoneLengths()
        self._read = 0  # version up to which the bones are known
        self._agreement: tuple[int, Agreement] | None = None
        self._lock = threading.Lock()

    def project(self) -> ProjectState:
        """What does not change while people work."""
        project = self._project
        missing = project.missing()
        return {
            "name": project.name,
            "frames": project.frames,
            "views": [
                {
                    "name": camera.name,
                    "width": camera.width,
                    "height": camera.height,
                    "rotation": camera.R.tolist(),
                    "translation_m": camera.t.tolist(),
                    "missing": missing.get(camera.name, ()),
                }
                for camera in project.rig
            ],
            "joints": joint_names(),
            "bones": BONES,
            "annotators": project.store.annotators(),
            "version": project.store.version,
        }

    def frame(
        self,
        frame: int,
        annotator: str,
        *,
        joint: int | None = None,
        views: Collection[str] = (),
        everyone: bool = False,
    ) -> FrameState:
        """One frame set as one annotator sees it.

        Args:
            frame: its number.
            annotator: whose marks make the joints.
            joint: whose epipolar lines to add.
            views: in which to project; all by default.
            everyone: joints are made of all people's marks, the median where several marked one view.
        """
        rig, store = self._project.rig, self._project.store
        version = store.version
        marks = store.marks(frame)
        people = [mark for mark in marks if mark.annotator != MACHINE]
        own = [mark for mark in people if mark.annotator == annotator]
        table = table_of_marks(rig, people if everyone else own)
        solution = solve_joints(rig, table)
        lines = {} if joint is None else epipolar_lines(rig, table, joint)
        shown = [name for name in rig.names if not views or name in views]
        return {
            "frame": frame,
            "version": version,
            "marks": [mark_to_dict(mark) for mark in own],
            "others": [mark_to_dict(mark) for mark in people if mark.annotator != annotator],
            "machine": [mark_to_dict(mark) for mark in self._machine(frame, marks)],
            "conflicts": [
                {
                    "view": one.view,
                    "joint": one.joint,
                    "annotators": [mark.annotator for mark in one.marks],
                    "apart_px": one.apart_px,
                }
                for one in conflicts(people)
            ],
            **self._joints(solution, shown),
            "lines": {name: _listed(line) for name, line in lines.items() if name in shown},
            "bones": self._warnings(frame, solution),
        }

    def _machine(self, frame: int, marks: list[Mark]) -> list[Mark]:
        """The newest run's marks; those of views that a person asked a detector about since then are the detector's."""
        asked = [mark for mark in marks if mark.annotator == MACHINE]
        views = {mark.view for mark in asked}
        return [*asked, *(mark for mark in machine_marks(self._project, frame) if mark.view not in views)]

    def progress(self) -> Progress:
        """How far each frame is, and how much it needs attention."""
        store = self._project.store
        needs: dict[int, NeedRecord] = {
            frame: {"score": need.score, "why": need.why} for frame, need in store.needs().items()
        }
        joints = PER_HAND * max(1, store.hands())
        return {"version": store.version, "joints": joints, "frames": store.triangulable(), "needs": needs}

    def agreement(self) -> Agreement:
        """Between annotators, over all frames."""
        store = self._project.store
        version = store.version
        if self._agreement is None or self._agreement[0] != version:
            self._agreement = version, agreement(store.marks())
        return self._agreement[1]

    def _joints(self, solution: SolvedJoints, shown: list[str]) -> JointsRecord:
        places = [self._project.rig.index(name) for name in shown]
        return {
            "points_m": _listed(solution.points_m, 6),
            "sigma_mm": _listed(1e3 * solution.sigma_m, 3),
            "projected": {name: _listed(solution.projected_px[k]) for name, k in zip(shown, places, strict=True)},
            "residuals_px": {name: _listed(solution.residual_px[k]) for name, k in zip(shown, places, strict=True)},
        }

    def _warnings(self, frame: int, solution: SolvedJoints) -> list[BoneRecord]:
        """Bones of unlikely lengths, beside those of all frames that people have marked."""
        lengths = bone_lengths(solution.points_m)
        with self._lock:
            self._catch_up()
            usual = self._bones.usual_m(without=frame)
        return [
            {
                "bone": one.bone,
                "length_mm": round(1e3 * one.length_m, 1),
                "expected_mm": round(1e3 * one.expected_m, 1),
                "against": one.against,
            }
            for one in bone_warnings(lengths, usual)
        ]

    def _catch_up(self) -> None:
        """Measure the bones of every frame that was written to since the last time, of all people's marks."""
        store, rig = self._project.store, self._project.rig
        version = store.version
        changed = store.changed_frames(self._read)
        by_frame = _people_by_frame(store.marks()) if len(changed) > 8 else None
        for frame in changed:
            marks = (_people_by_frame(store.marks(frame)) if by_frame is None else by_frame).get(frame, [])
            self._bones.write(frame, bone_lengths(solve_joints(rig, table_of_marks(rig, marks)).points_m))
        self._read = version


def _people_by_frame(marks: list[Mark]) -> Mapping[int, list[Mark]]:
    found: dict[int, list[Mark]] = {}
    for mark in marks:
        if mark.annotator != MACHINE:
            found.setdefault(mark.frame, []).append(mark)
    return found


def _listed(array: FloatArray, digits: int = 2) -> list[Any]:
    """As JSON: rounded; None for a number, or a point with one, that is unknown."""
    known = np.asarray(np.isfinite(array.reshape(len(array), -1)).all(axis=1))
    rounded = np.round(array, digits).tolist()
    return [value if there else None for value, there in zip(rounded, known.tolist(), strict=True)]


T = TypeVar("T")

_QUALITY = 88

_DECODED_BYTES = 400_000_000

_ENCODED_BYTES = 200_000_000


class ImageRegion(NamedTuple):
    """A part of an image, in its pixels."""

    x: int
    y: int
    width: int
    height: int


class Images:
    """A project's images.

    Args:
        project: whose.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._decoded: _Recent[NDArray[np.uint8]] = _Recent(_DECODED_BYTES, lambda rgb: rgb.nbytes)
        self._encoded: _Recent[bytes] = _Recent(_ENCODED_BYTES, len)

    def jpeg(self, view: str, frame: int, longest: int, part: ImageRegion | None) -> bytes:
        """One image, or a part of it, encoded.

        Args:
            view: of the project.
            frame: number of the frame set.
            longest: pixels of its longer side, at most; it is never made larger.
            part: of the image; None for the whole.

        Raises:
            InputError: there is no such image, or it cannot be read.
            RefusedError: the part lies outside.
        """
        key = view, frame, longest, part
        known = self._encoded.get(key)
        return known if known is not None else self._encoded.put(key, _encode(self.rgb(view, frame), longest, part))

    def rgb(self, view: str, frame: int) -> Image:
        """One image, (H, W, 3); InputError where there is none."""
        known = self._decoded.get((view, frame))
        return known if known is not None else self._decoded.put((view, frame), self._project.view(view).read(frame))


class _Recent(Generic[T]):
    """What was used last, up to a number of bytes."""

    def __init__(self, most: int, size: Callable[[T], int]) -> None:
        self._most = most
        self._size = size
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()
        self._held = 0

    def get(self, key: Hashable) -> T | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, value: T) -> T:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = value
                self._held += self._size(value)
            while self._held > self._most and len(self._kept) > 1:
                self._held -= self._size(self._kept.popitem(last=False)[1])
        return value


def _encode(rgb: Image, longest: int, part: ImageRegion | None) -> bytes:
    import cv2

    if part is not None:
        rgb = rgb[max(part.y, 0) : part.y + part.height, max(part.x, 0) : part.x + part.width]
        if rgb.size == 0:
            raise RefusedError("bad_option", f"region {','.join(map(str, part))} lies outside the image")
    while max(rgb.shape) >= 2 * longest:  # halving is several times as fast as the last, uneven step
        rgb = np.asarray(cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    height, width = rgb.shape[:2]
    scale = longest / max(height, width)
    if scale < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
