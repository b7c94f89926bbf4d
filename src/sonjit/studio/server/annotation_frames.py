"""Frame sets and images of a project for the annotation page."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Hashable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, TypeVar

import numpy as np

from sonjit._util.arrays import FloatArray, Image
from sonjit.media.encode import encode_image
from sonjit.server.errors import RefusedError
from sonjit.studio.annotation.agreement import Agreement, agreement, conflicts
from sonjit.studio.annotation.marked_joints import SolvedJoints, epipolar_lines, mark_table, solve_joints
from sonjit.studio.annotation.marks import JOINTS_PER_HAND, MACHINE, Mark, MarkRecord, joint_names, mark_to_dict
from sonjit.studio.automatic.run_folder import machine_marks
from sonjit.studio.triangulation.bones import BONES, bone_lengths, bone_warnings, median_of_other_frames

if TYPE_CHECKING:
    from sonjit.studio.annotation.project import Project


T = TypeVar("T")
_JPEG_QUALITY = 88
_DECODED_BYTES = 400_000_000
_ENCODED_BYTES = 200_000_000


class ViewRecord(TypedDict):
    """Camera of the project; `missing` contains the frames without an image."""

    name: str
    width: int
    height: int
    rotation: list[list[float]]
    translation_m: list[float]
    missing: tuple[int, ...]


class ProjectState(TypedDict):
    """Answer of `GET /v1/annotate`."""

    name: str
    frames: tuple[int, ...]
    views: list[ViewRecord]
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    annotators: list[str]
    version: int


class ConflictRecord(TypedDict):
    """Joint of a view on which annotators disagree; `apart_px` is null if an annotator marked it absent."""

    view: str
    joint: int
    annotators: list[str]
    apart_px: float | None


class BoneRecord(TypedDict):
    """Bone of an unlikely length."""

    bone: tuple[int, int]
    length_mm: float
    expected_mm: float
    against: str


class JointsRecord(TypedDict):
    """Joints in space and in each view; null if unknown."""

    points_m: list[Any]
    sigma_mm: list[float | None]
    projected: dict[str, list[Any]]
    residuals_px: dict[str, list[float | None]]


class FrameState(JointsRecord):
    """State of a frame set for an annotator."""

    frame: int
    version: int
    marks: list[MarkRecord]
    others: list[MarkRecord]
    machine: list[MarkRecord]
    conflicts: list[ConflictRecord]
    lines: dict[str, list[Any]]
    bones: list[BoneRecord]


class Progress(TypedDict):
    """Number of joints that can be triangulated by frame, number of joints of all hands, and the ranking."""

    version: int
    joints: int
    frames: dict[int, int]
    needs: dict[int, dict[str, float | str]]


class Frames:
    """Frame sets of a project as JSON.

    Args:
        project: Open project.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._bone_lengths: dict[int, FloatArray] = {}  # (40,) by frame
        self._version = 0  # version of the project whose bones are measured
        self._agreement: tuple[int, Agreement] | None = None
        self._lock = threading.Lock()

    def project(self) -> ProjectState:
        """Return the constant data of the project."""
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
        """Return a frame set for an annotator.

        Args:
            frame: Number of the frame set.
            annotator: Annotator whose marks are triangulated.
            joint: Joint whose epipolar lines are added; None for none.
            views: Views of the projections. Default: all views.
            everyone: If True, triangulate the marks of all people, with the median of several marks in a view.
        """
        rig, store = self._project.rig, self._project.store
        version = store.version
        marks = store.marks(frame)
        people = [mark for mark in marks if mark.annotator != MACHINE]
        own = [mark for mark in people if mark.annotator == annotator]
        table = mark_table(rig, people if everyone else own)
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
                    "view": warning.view,
                    "joint": warning.joint,
                    "annotators": [mark.annotator for mark in warning.marks],
                    "apart_px": warning.apart_px,
                }
                for warning in conflicts(people)
            ],
            **self._joints(solution, shown),
            "lines": {name: _json_rows(line) for name, line in lines.items() if name in shown},
            "bones": self._warnings(frame, solution),
        }

    def _machine(self, frame: int, marks: list[Mark]) -> list[Mark]:
        """Return the automatic marks: those that a person requested replace those of the newest run in their views."""
        requested = [mark for mark in marks if mark.annotator == MACHINE]
        views = {mark.view for mark in requested}
        return [*requested, *(mark for mark in machine_marks(self._project, frame) if mark.view not in views)]

    def progress(self) -> Progress:
        """Return the progress and review priority of each frame."""
        store = self._project.store
        needs = {frame: asdict(priority) for frame, priority in store.review_priorities().items()}
        joints = JOINTS_PER_HAND * max(1, store.hands())
        return {"version": store.version, "joints": joints, "frames": store.triangulable(), "needs": needs}

    def agreement(self) -> Agreement:
        """Return the agreement of annotators over all frames."""
        store = self._project.store
        version = store.version
        if self._agreement is None or self._agreement[0] != version:
            self._agreement = version, agreement(store.marks())
        return self._agreement[1]

    def _joints(self, solution: SolvedJoints, shown: list[str]) -> JointsRecord:
        cameras = [self._project.rig.index(name) for name in shown]
        return {
            "points_m": _json_rows(solution.points_m, 6),
            "sigma_mm": _json_rows(1e3 * solution.sigma_m, 3),
            "projected": {name: _json_rows(solution.projected_px[k]) for name, k in zip(shown, cameras, strict=True)},
            "residuals_px": {name: _json_rows(solution.residual_px[k]) for name, k in zip(shown, cameras, strict=True)},
        }

    def _warnings(self, frame: int, solution: SolvedJoints) -> list[BoneRecord]:
        """Return bones whose lengths differ from those of all frames that people have marked."""
        lengths = bone_lengths(solution.points_m, np.array(BONES))
        with self._lock:
            self._measure_bones()
            usual = median_of_other_frames(self._bone_lengths, frame)
        return [
            {
                "bone": warning.bone,
                "length_mm": round(1e3 * warning.length_m, 1),
                "expected_mm": round(1e3 * warning.expected_m, 1),
                "against": warning.against,
            }
            for warning in bone_warnings(lengths, usual)
        ]

    def _measure_bones(self) -> None:
        """Measure the bones of the frames that changed since the last call, from the marks of all people."""
        store, rig = self._project.store, self._project.rig
        version = store.version
        changed = store.changed_frames(self._version)
        by_frame = _people_by_frame(store.marks()) if len(changed) > 8 else None
        for frame in changed:
            marks = (_people_by_frame(store.marks(frame)) if by_frame is None else by_frame).get(frame, [])
            points_m = solve_joints(rig, mark_table(rig, marks)).points_m
            self._bone_lengths[frame] = bone_lengths(points_m, np.array(BONES))
        self._version = version


def _people_by_frame(marks: list[Mark]) -> Mapping[int, list[Mark]]:
    by_frame: dict[int, list[Mark]] = {}
    for mark in marks:
        if mark.annotator != MACHINE:
            by_frame.setdefault(mark.frame, []).append(mark)
    return by_frame


def _json_rows(array: FloatArray, digits: int = 2) -> list[Any]:
    """Return rounded numbers as JSON. Unknown numbers and points with unknown numbers are None."""
    finite = np.asarray(np.isfinite(array.reshape(len(array), -1)).all(axis=1))
    rounded = np.round(array, digits).tolist()
    return [value if is_known else None for value, is_known in zip(rounded, finite.tolist(), strict=True)]


class ImageRegion(NamedTuple):
    """Region of an image in pixels."""

    x: int
    y: int
    width: int
    height: int


class Images:
    """Images of a project, with caches of decoded and encoded images.

    Args:
        project: Open project.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._decoded = _ByteCache(_DECODED_BYTES)
        self._encoded = _ByteCache(_ENCODED_BYTES)

    def jpeg(self, view: str, frame: int, longest: int, part: ImageRegion | None) -> bytes:
        """Return an image or a region as JPEG.

        Args:
            view: Name of the view.
            frame: Number of the frame set.
            longest: Maximum length of the longer side in pixels. Images are never scaled up.
            part: Region of the image; None for the complete image.

        Raises:
            InputError: The image does not exist or cannot be read.
            RefusedError: The region is outside the image.
        """
        key = view, frame, longest, part
        cached = self._encoded.get(key)
        return cached if cached is not None else self._encoded.put(key, _encode(self.rgb(view, frame), longest, part))

    def rgb(self, view: str, frame: int) -> Image:
        """Return an image, (H, W, 3). Raise InputError if it does not exist."""
        cached = self._decoded.get((view, frame))
        return cached if cached is not None else self._decoded.put((view, frame), self._project.view(view).read(frame))


class _ByteCache:
    """Cache of the last used images, decoded or encoded, up to a number of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()
        self._used = 0

    def get(self, key: Hashable) -> Any | None:  # noqa: ANN401  # as it was put
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: T) -> T:
        with self._lock:
            if key not in self._values:
                self._values[key] = value
                self._used += memoryview(value).nbytes  # pyright: ignore[reportArgumentType]  # bytes or array
            while self._used > self._max_bytes and len(self._values) > 1:
                self._used -= memoryview(self._values.popitem(last=False)[1]).nbytes
        return value


def _encode(rgb: Image, longest: int, part: ImageRegion | None) -> bytes:
    import cv2

    if part is not None:
        rgb = rgb[max(part.y, 0) : part.y + part.height, max(part.x, 0) : part.x + part.width]
        if rgb.size == 0:
            raise RefusedError("bad_option", f"region {','.join(map(str, part))} lies outside the image")
    while max(rgb.shape) >= 2 * longest:  # halving is several times as fast as other factors
        rgb = np.asarray(cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    height, width = rgb.shape[:2]
    scale = longest / max(height, width)
    if scale < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    return encode_image(rgb, ".jpg", (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))
