"""Hands in all views of a chunk of frame sets: detected, associated, and detected again at their projections.

Any process on any machine that sees the project's folder can do a chunk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import BoolArray, Float32Array, FloatArray, Image, IndexArray, IntArray
from sonjit.detectors.create import create_detector
from sonjit.detectors.kinds.hands import box_around_hand
from sonjit.detectors.pipeline import Detector
from sonjit.errors import InputError, SonjitError
from sonjit.files import atomic_file, read_arrays
from sonjit.multiview.annotation.project import Project, open_project
from sonjit.multiview.cameras.rig import CameraRig, RigCamera
from sonjit.multiview.triangulation.association import near_px
from sonjit.multiview.triangulation.hands import ViewDetections, associate
from sonjit.multiview.triangulation.triangulation import triangulate
from sonjit.results import Hand

CANDIDATES: Final = 4
LEAST_SCORE: Final = 0.3
_THRESHOLD_PX: Final = 10.0
_CLEAR: Final = 0.25  # of a vote for each view, by which crops of whole hands must contradict their sides
ROOM: Final = 0.25  # of a hand that may lie outside an image in which it is searched


@dataclass(frozen=True)
class DetectionSettings:
    """Which detector, on which views.

    Attributes:
        project: its folder.
        views: names of the cameras that are used.
        model: Sonjit's hand model, full or lite.
        network: folder that `sonjit annotate train --network` wrote, for a second pass; "" for none.
        recordings: see `Project.recordings`.
        version: of how hands are detected here; what another one detected is not kept.
    """

    project: str
    views: tuple[str, ...]
    model: str = "full"
    network: str = ""
    recordings: str = ""
    version: int = 2


@dataclass(frozen=True, eq=False)
class ChunkDetections:
    """Both hands as C views show them in n frame sets.

    Attributes:
        frames: (n,) numbers.
        points_px: (n, C, 2, 21, 2) right, left; NaN without.
        confidence: (n, C, 2, 21) 0 without.
        problems: one line for each image that was not used.
    """

    frames: IntArray
    points_px: Float32Array
    confidence: Float32Array
    problems: tuple[str, ...]

    def exchanged(self, rows: BoolArray) -> ChunkDetections:
        """The same with right and left hand exchanged in some of the frame sets (n,)."""
        points, confidence = self.points_px.copy(), self.confidence.copy()
        points[rows], confidence[rows] = points[rows, :, ::-1], confidence[rows, :, ::-1]
        return replace(self, points_px=points, confidence=confidence)

    def part(self, rows: slice | BoolArray) -> ChunkDetections:
        """Some of the frame sets."""
        return replace(self, frames=self.frames[rows], points_px=self.points_px[rows], confidence=self.confidence[rows])

    def save(self, path: Path) -> None:
        """Write it as one file that is whole or not there."""
        lines = np.array(self.problems, np.str_)
        with atomic_file(path) as draft:
            np.savez(draft, frames=self.frames, points_px=self.points_px, confidence=self.confidence, problems=lines)


def joined_detections(chunks: Sequence[ChunkDetections]) -> ChunkDetections:
    """Chunks of the same views one after another, without their problems."""
    return ChunkDetections(
        np.concatenate([chunk.frames for chunk in chunks]),
        np.concatenate([chunk.points_px for chunk in chunks]),
        np.concatenate([chunk.confidence for chunk in chunks]),
        (),
    )


def load_detections(path: Path) -> ChunkDetections:
    """A chunk that `ChunkDetections.save` wrote.

    Raises:
        InputError: it is damaged.
    """
    try:
        file = read_arrays(path)
        lines: list[str] = file["problems"].tolist()
        return ChunkDetections(file["frames"], file["points_px"], file["confidence"], tuple(lines))
    except (InputError, KeyError) as error:
        raise InputError(f"{path} is damaged ({error}): delete it, and the next run writes it again") from None


def detect_chunk(settings: DetectionSettings, frames: Sequence[int], out: str) -> str:
    """Detect the hands of some frame sets and write the `ChunkDetections`; gives the file."""
    detect_frames(settings, frames).save(Path(out))
    return out


def detect_frames(settings: DetectionSettings, frames: Sequence[int], *, again: bool = True) -> ChunkDetections:
    """The hands of some frame sets; `again`: detected a second time at their projections into each view."""
    project, hands = _opened(settings)
    rig = project.rig.subset(settings.views)
    points = np.full((len(frames), len(rig), 2, 21, 2), np.nan, np.float32)
    confidence = np.zeros(points.shape[:-1], np.float32)
    problems: list[str] = []
    before = np.full((2, 21, 3), np.nan)  # where joints were seen last
    for row, images in enumerate(usable_images(project, settings.views, frames, problems)):
        seen = _candidates(hands, images)
        chosen = associate(rig, seen, before)
        _take(points[row], confidence[row], seen, chosen, rest=not again)
        if not again:
            continue
        hands_m = _in_space(rig, points[row], confidence[row])
        votes = np.zeros(2)
        for view, rgb in enumerate(images):
            if rgb is not None:
                votes += _detect_at_projections(
                    hands, rgb, rig.cameras[view], hands_m, points[row, view], confidence[row, view]
                )
        if votes[1] - votes[0] > _CLEAR * len(rig):  # the left hand looks more like a right one
            hands_m, points[row], confidence[row] = hands_m[::-1], points[row, :, ::-1], confidence[row, :, ::-1]
        before = np.where(np.isfinite(hands_m), hands_m, before)
    return ChunkDetections(np.array(frames, np.int64), points, confidence, tuple(problems))


def usable_images(
    project: Project, views: Sequence[str], frames: Sequence[int], problems: list[str]
) -> Iterator[list[NDArray[np.uint8] | None]]:
    """The images of consecutive frame sets; None, and a problem, for what cannot be used."""
    repeated = _Repeated()
    place = project.frames.index(frames[0])
    if place:  # a chunk's first images may repeat the last ones of the chunk before
        _images(project, views, project.frames[place - 1], repeated, [])
    for frame in frames:
        yield _images(project, views, frame, repeated, problems)


@lru_cache(maxsize=2)
def _opened(settings: DetectionSettings) -> tuple[Project, Detector[Hand]]:
    """Project and networks, once for each process."""
    hands: Any = create_detector(
        "hands", model=settings.model, static_image=True, search="fast", max_instances=CANDIDATES,
        min_detection_score=LEAST_SCORE, min_presence_score=LEAST_SCORE, threads=1,
    )  # fmt: skip
    return open_project(Path(settings.project)), hands


class _Repeated:
    """Finds images that repeat the previous one, byte for byte, while other views change."""

    def __init__(self) -> None:
        self._last: dict[str, bytes] = {}

    def found(self, images: dict[str, NDArray[np.uint8]]) -> set[str]:
        """Names of the views that repeat themselves."""
        now = {name: hashlib.blake2b(rgb.tobytes(), digest_size=16).digest() for name, rgb in images.items()}
        same = {name for name, digest in now.items() if self._last.get(name) == digest}
        self._last |= now
        return same if len(same) < len(now) else set()


def _images(
    project: Project, views: Sequence[str], frame: int, repeated: _Repeated, problems: list[str]
) -> list[NDArray[np.uint8] | None]:
    """The images of one frame set; None, and a problem, for what cannot be used."""
    read: dict[str, NDArray[np.uint8]] = {}
    for name in views:
        if frame not in project.view(name).numbers:
            problems.append(f"view {name} has no image {frame}")
            continue
        try:
            rgb = project.view(name).read(frame)
        except SonjitError as error:
            problems.append(f"view {name}: {error}")
            continue
        camera = project.rig[name]
        if rgb.shape[:2] != (camera.height, camera.width):
            size = f"{rgb.shape[1]} x {rgb.shape[0]}"
            problems.append(
                f"view {name}, image {frame} has {size} pixels, its camera {camera.width} x {camera.height}"
            )
            continue
        read[name] = rgb
    for name in repeated.found(read):
        problems.append(f"view {name}, image {frame} repeats the previous one: it is not used")
        del read[name]
    return [read.get(name) for name in views]


def _candidates(hands: Detector[Hand], images: Sequence[NDArray[np.uint8] | None]) -> ViewDetections:
    shape = len(images), CANDIDATES
    seen = ViewDetections(np.full((*shape, 21, 2), np.nan), np.zeros(shape), np.full(shape, 0.5))
    for view, rgb in enumerate(images):
        for place, hand in enumerate([] if rgb is None else hands.detect(rgb)[:CANDIDATES]):
            seen.points_px[view, place] = hand.keypoints[:, :2]
            seen.score[view, place] = hand.score
            seen.right[view, place] = _rightness(hand)
    return seen


def _rightness(hand: Hand) -> float:
    """The probability that it is a right hand."""
    sure = hand.handedness_score or 0.5
    return sure if hand.handedness == "Right" else 1 - sure


def _take(
    points: Float32Array, confidence: Float32Array, seen: ViewDetections, chosen: IndexArray, *, rest: bool
) -> None:
    """The associated hands, by side; `rest`: the others too, by their handedness, for the check of the cameras."""
    for view in range(len(points)):
        for side in range(2):
            place = int(chosen[side, view])
            if place < 0 and rest:
                taken = set(chosen[:, view].tolist())
                fits = [
                    k
                    for k in range(CANDIDATES)
                    if k not in taken and seen.score[view, k] > 0 and (seen.right[view, k] >= 0.5) == (side == 0)
                ]
                place = max(fits, key=lambda k: seen.score[view, k], default=-1)
            if place >= 0:
                points[view, side] = seen.points_px[view, place]
                confidence[view, side] = seen.score[view, place]


def _in_space(rig: CameraRig, points: Float32Array, confidence: Float32Array) -> FloatArray:
    """(2, 21, 3) metres; NaN where unknown."""
    return triangulate(rig, points, confidence=confidence, method="ransac", threshold_px=_THRESHOLD_PX).points_m


def _detect_at_projections(
    hands: Detector[Hand],
    rgb: Image,
    camera: RigCamera,
    points_m: FloatArray,
    points: Float32Array,
    confidence: Float32Array,
) -> FloatArray:
    """Replace points (2, 21, 2) and confidence (2, 21) by detections at the projections of hands (2, 21, 3).

    Returns:
        (2,) how much each looks like a right hand, from -1 to 1; 0 where it is not found.
    """
    votes = np.zeros(2)
    for side in range(2):
        there = camera.project(points_m[side])
        if not np.isfinite(there).all() or camera.inside(there).mean() < 1 - ROOM:
            continue
        seen = hands.detect(rgb, boxes=[box_around_hand(there)])
        if seen and np.linalg.norm(seen[0].keypoints[:, :2] - there, axis=1).mean() < near_px(there):
            points[side], confidence[side] = seen[0].keypoints[:, :2], seen[0].score
            votes[side] = seen[0].score * (2 * _rightness(seen[0]) - 1)
    return votes
