"""Detect hands in all views of a chunk of frame sets.

A chunk is processed in three steps: detect, associate, and detect again at the projections. Any process on any machine
that can read the project's folder can process a chunk.
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

from sonjit._util.arrays import BoolArray, Float32Array, FloatArray, Image, IndexArray, IntArray
from sonjit._util.data_files import read_npz
from sonjit._util.errors import InputError, SonjitError
from sonjit._util.files import atomic_file
from sonjit.detectors.create import create_detector
from sonjit.detectors.kinds.hands import box_around_hand
from sonjit.detectors.pipeline import Detector
from sonjit.results import Hand
from sonjit.studio.annotation.project import Project, open_project
from sonjit.studio.cameras.rig import CameraRig, RigCamera
from sonjit.studio.triangulation.association import tolerance_px
from sonjit.studio.triangulation.hands import ViewDetections, associate_hands
from sonjit.studio.triangulation.triangulation import triangulate

# Chosen on recording A of `python benchmarks/annotator.py`; research/annotator.md has the errors on B, C and D.
CANDIDATES: Final = 4  # detections per image: two hands and two false positives
MIN_SCORE: Final = 0.3  # least score of a detection and least presence in a crop
_THRESHOLD_PX: Final = 10.0  # largest error of a view that agrees in the triangulation
_SWAP_MARGIN: Final = 0.25  # mean vote per view by which crops must contradict the sides of the hands
MAX_OUTSIDE: Final = 0.25  # fraction of a hand that may lie outside an image


@dataclass(frozen=True)
class DetectionSettings:
    """Settings of the detection, which identify a run.

    Attributes:
        project: Folder of the project.
        views: Names of the cameras.
        model: Sonjit's hand model, full or lite.
        network: Folder of `sonjit annotate train --network` for a second pass, or "".
        recordings: Hash of the recordings, see `Project.recordings`.
        version: Version of the detection algorithm. Results of other versions are not reused.
    """

    project: str
    views: tuple[str, ...]
    model: str = "full"
    network: str = ""
    recordings: str = ""
    version: int = 2


@dataclass(frozen=True, eq=False)
class ChunkDetections:
    """Both hands in C views of n frame sets.

    Attributes:
        frames: (n,) numbers of the frame sets.
        points_px: (n, C, 2, 21, 2) right and left hand in pixels, NaN without.
        confidence: (n, C, 2, 21) confidences, 0 without.
        problems: One line for each image that was not used.
    """

    frames: IntArray
    points_px: Float32Array
    confidence: Float32Array
    problems: tuple[str, ...]

    def swap_hands(self, rows: BoolArray) -> ChunkDetections:
        """Return detections with the hands swapped in some of the frame sets (n,)."""
        points, confidence = self.points_px.copy(), self.confidence.copy()
        points[rows], confidence[rows] = points[rows, :, ::-1], confidence[rows, :, ::-1]
        return replace(self, points_px=points, confidence=confidence)

    def part(self, rows: slice | BoolArray) -> ChunkDetections:
        """Return some of the frame sets."""
        return replace(self, frames=self.frames[rows], points_px=self.points_px[rows], confidence=self.confidence[rows])

    def save(self, path: Path) -> None:
        """Write the detections atomically as one file."""
        lines = np.array(self.problems, np.str_)
        with atomic_file(path) as draft:
            np.savez(draft, frames=self.frames, points_px=self.points_px, confidence=self.confidence, problems=lines)


def concatenate_detections(chunks: Sequence[ChunkDetections]) -> ChunkDetections:
    """Concatenate chunks of the same views, without their problems."""
    return ChunkDetections(
        np.concatenate([chunk.frames for chunk in chunks]),
        np.concatenate([chunk.points_px for chunk in chunks]),
        np.concatenate([chunk.confidence for chunk in chunks]),
        (),
    )


def load_detections(path: Path) -> ChunkDetections:
    """Load a file of `ChunkDetections.save`.

    Raises:
        InputError: The file is damaged.
    """
    try:
        file = read_npz(path)
        lines: list[str] = file["problems"].tolist()
        return ChunkDetections(file["frames"], file["points_px"], file["confidence"], tuple(lines))
    except (InputError, KeyError) as error:
        raise InputError(f"{path} is damaged ({error}): delete it, and the next run writes it again") from None


def detect_chunk(settings: DetectionSettings, frames: Sequence[int], out: str) -> str:
    """Detect the hands of some frame sets, write them to a file, and return its path."""
    detect_frames(settings, frames).save(Path(out))
    return out


def detect_frames(settings: DetectionSettings, frames: Sequence[int], *, again: bool = True) -> ChunkDetections:
    """Detect the hands of some frame sets.

    Args:
        settings: Settings of the detection.
        frames: Numbers of the frame sets.
        again: If True, detect a second time at the projections into each view.
    """
    project, hands = _open_once(settings)
    rig = project.rig.subset(settings.views)
    points = np.full((len(frames), len(rig), 2, 21, 2), np.nan, np.float32)
    confidence = np.zeros(points.shape[:-1], np.float32)
    problems: list[str] = []
    before = np.full((2, 21, 3), np.nan)  # last known joints
    for row, images in enumerate(read_usable_images(project, settings.views, frames, problems)):
        seen = _detect_candidates(hands, images)
        chosen = associate_hands(rig, seen, before)
        _assign_hands(points[row], confidence[row], seen, chosen, unassociated=not again)
        if not again:
            continue
        hands_m = _triangulate_hands(rig, points[row], confidence[row])
        votes = np.zeros(2)
        for view, rgb in enumerate(images):
            if rgb is not None:
                votes += _detect_at_projections(
                    hands,
                    rgb,
                    rig.cameras[view],
                    points_m=hands_m,
                    points=points[row, view],
                    confidence=confidence[row, view],
                )
        if votes[1] - votes[0] > _SWAP_MARGIN * len(rig):  # the left hand looks more like a right one
            hands_m, points[row], confidence[row] = hands_m[::-1], points[row, :, ::-1], confidence[row, :, ::-1]
        before = np.where(np.isfinite(hands_m), hands_m, before)
    return ChunkDetections(np.array(frames, np.int64), points, confidence, tuple(problems))


def read_usable_images(
    project: Project, views: Sequence[str], frames: Sequence[int], problems: list[str]
) -> Iterator[list[NDArray[np.uint8] | None]]:
    """Iterate over the images of consecutive frame sets. Unusable ones are None and added to the problems."""
    hashes: dict[str, bytes] = {}  # of the previous image of each view
    first_index = project.frames.index(frames[0])
    if first_index:  # a chunk's first images may repeat the last ones of the previous chunk
        _read_frame_set(project, views, project.frames[first_index - 1], hashes, [])
    for frame in frames:
        yield _read_frame_set(project, views, frame, hashes, problems)


@lru_cache(maxsize=2)
def _open_once(settings: DetectionSettings) -> tuple[Project, Detector[Hand]]:
    """Open the project and its detector once per process."""
    hands: Any = create_detector(
        "hands", model=settings.model, static_image=True, search="fast", max_instances=CANDIDATES,
        min_detection_score=MIN_SCORE, min_presence_score=MIN_SCORE, threads=1,
    )  # fmt: skip
    return open_project(Path(settings.project)), hands


def _read_frame_set(
    project: Project, views: Sequence[str], frame: int, hashes: dict[str, bytes], problems: list[str]
) -> list[NDArray[np.uint8] | None]:
    """Read the images of one frame set, and update the hashes of each view's previous image.

    Unusable images are None and added to the problems.
    """
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
    for name in _find_repeats(read, hashes):
        problems.append(f"view {name}, image {frame} repeats the previous one: it is not used")
        del read[name]
    return [read.get(name) for name in views]


def _find_repeats(images: dict[str, NDArray[np.uint8]], hashes: dict[str, bytes]) -> set[str]:
    """Return the views whose image equals the previous one while other views change, and update the hashes."""
    now = {name: hashlib.blake2b(rgb.tobytes(), digest_size=16).digest() for name, rgb in images.items()}
    same = {name for name, digest in now.items() if hashes.get(name) == digest}
    hashes |= now
    return same if len(same) < len(now) else set()


def _detect_candidates(hands: Detector[Hand], images: Sequence[NDArray[np.uint8] | None]) -> ViewDetections:
    """Detect up to four hands in each image."""
    shape = len(images), CANDIDATES
    detections = ViewDetections(np.full((*shape, 21, 2), np.nan), np.zeros(shape), np.full(shape, 0.5))
    for view, rgb in enumerate(images):
        for index, hand in enumerate([] if rgb is None else hands.detect(rgb)[:CANDIDATES]):
            detections.points_px[view, index] = hand.keypoints[:, :2]
            detections.score[view, index] = hand.score
            detections.right[view, index] = _right_probability(hand)
    return detections


def _right_probability(hand: Hand) -> float:
    """Return the probability of a right hand."""
    probability = hand.handedness_score or 0.5
    return probability if hand.handedness == "Right" else 1 - probability


def _assign_hands(
    points: Float32Array,
    confidence: Float32Array,
    detections: ViewDetections,
    chosen: IndexArray,
    *,
    unassociated: bool,
) -> None:
    """Write the associated hands by side.

    Args:
        points: (C, 2, 21, 2) points to write.
        confidence: (C, 2, 21) confidences to write.
        detections: Detected hands.
        chosen: (2, C) index of each hand, -1 for none.
        unassociated: If True, use other hands by their handedness where none is associated. The check of the cameras
            needs them.
    """
    for view in range(len(points)):
        for side in range(2):
            index = int(chosen[side, view])
            if index < 0 and unassociated:
                used = set(chosen[:, view].tolist())
                fits = [
                    k
                    for k in range(CANDIDATES)
                    if k not in used
                    and detections.score[view, k] > 0
                    and (detections.right[view, k] >= 0.5) == (side == 0)
                ]
                index = max(fits, key=lambda k: detections.score[view, k], default=-1)
            if index >= 0:
                points[view, side] = detections.points_px[view, index]
                confidence[view, side] = detections.score[view, index]


def _triangulate_hands(rig: CameraRig, points: Float32Array, confidence: Float32Array) -> FloatArray:
    """Triangulate hands (2, 21, 3) in metres, NaN where unknown."""
    return triangulate(rig, points, confidence=confidence, method="ransac", threshold_px=_THRESHOLD_PX).points_m


def _detect_at_projections(
    hands: Detector[Hand],
    rgb: Image,
    camera: RigCamera,
    *,
    points_m: FloatArray,
    points: Float32Array,
    confidence: Float32Array,
) -> FloatArray:
    """Replace points (2, 21, 2) and confidence (2, 21) by detections at the projections of hands (2, 21, 3).

    Returns:
        (2,) score of each as a right hand, from -1 to 1, 0 if it is not found.
    """
    votes = np.zeros(2)
    for side in range(2):
        expected = camera.project(points_m[side])
        if not np.isfinite(expected).all() or camera.inside(expected).mean() < 1 - MAX_OUTSIDE:
            continue
        found = hands.detect(rgb, boxes=[box_around_hand(expected)])
        if found and np.linalg.norm(found[0].keypoints[:, :2] - expected, axis=1).mean() < tolerance_px(expected):
            points[side], confidence[side] = found[0].keypoints[:, :2], found[0].score
            votes[side] = found[0].score * (2 * _right_probability(found[0]) - 1)
    return votes
