"""Detect hands again with a network trained on the project's marks, at the projections of the first pass's hands.

A fine-tuned hand network only sees right hands, left ones in mirrored images, as in its training. Where two hands
overlap, it knows which one is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import FloatArray, Image, RealArray
from sonjit._util.errors import InputError
from sonjit.detectors.create import create_detector
from sonjit.detectors.kinds.hands import box_around_hand
from sonjit.studio.annotation.project import Project, open_project
from sonjit.studio.automatic.detection import (
    MAX_OUTSIDE,
    MIN_SCORE,
    ChunkDetections,
    DetectionSettings,
    load_detections,
    read_usable_images,
)
from sonjit.studio.automatic.learning import human_joints, mirror_points
from sonjit.studio.automatic.offsets import triangulate_detections
from sonjit.studio.automatic.swaps import correct_swaps
from sonjit.studio.cameras.rig import CameraRig
from sonjit.studio.triangulation.association import tolerance_px

HAND_NETWORK: Final = "hand-full"
"""Recipe of `sonjit train`, and stem of its exported file."""
PASSES: Final = 2
"""Number of passes. The second one crops hands at the positions of the project's network."""


InferHand = Callable[[Image, FloatArray, int], tuple[RealArray, RealArray] | None]
"""Function that returns keypoints (21, 2) and confidences (21,) of a hand, or None if it is not found.

Its arguments are an image (H, W, 3), the expected points (21, 2), and the side: 0 for right, 1 for left."""


def load_hand_network(file: Path) -> InferHand:
    """Load the exported landmark network of `sonjit annotate train --network hand-full`."""
    hands = create_detector(
        "hands",
        landmark_model=file,
        static_image=True,
        search="fast",
        max_instances=1,
        min_presence_score=MIN_SCORE,
        threads=1,
    )

    def infer(rgb: Image, expected_px: FloatArray, side: int) -> tuple[RealArray, RealArray] | None:
        width, left = rgb.shape[1], side == 1
        shown = np.ascontiguousarray(rgb[:, ::-1]) if left else rgb
        box = box_around_hand(mirror_points(expected_px, width) if left else expected_px)
        found = hands.detect(shown, boxes=[box])
        if not found:
            return None
        points = found[0].keypoints[:, :2]
        return mirror_points(points, width) if left else points, np.full(21, found[0].score)

    return infer


def load_keypoint_detector(folder: str) -> InferHand:
    """Load the network of `sonjit annotate train --network keypoint-detector`. It does not distinguish the sides."""
    from sonjit.lab.networks.keypoint_detector import KeypointDetector  # torch is imported only where it is needed

    network = KeypointDetector(folder)

    def infer(rgb: Image, expected_px: FloatArray, side: int) -> tuple[RealArray, RealArray] | None:
        del side
        low, high = expected_px.min(0).tolist(), expected_px.max(0).tolist()
        (found,) = network.detect(rgb, [(*low, *high)])
        return found.keypoints, np.maximum(found.confidence, 1e-3)

    return infer


def refine_chunk(settings: DetectionSettings, first: str, out: str) -> str:
    """Refine a file of `detect_chunk`, write the result, and return its path."""
    refine_detections(settings, load_detections(Path(first))).save(Path(out))
    return out


def refine_detections(settings: DetectionSettings, first: ChunkDetections) -> ChunkDetections:
    """Detect all hands of a chunk again with `settings.network`.

    A view without a detection is ignored for that hand. The first pass's detections stay for hands that it did not
    triangulate completely, and for those that fewer than two views show now.
    """
    project, infer = _open_once(settings)
    rig = project.rig.subset(settings.views)
    people = [human_joints(project.rig, project.store.marks(int(frame))) for frame in first.frames]
    first = correct_swaps(rig, first, people)  # the network needs the right side of each hand
    points, confidence = first.points_px.copy(), first.confidence.copy()
    problems: list[str] = []
    frames = first.frames.tolist()
    for row, images in enumerate(read_usable_images(project, settings.views, frames, problems)):
        for _ in range(PASSES):
            frame_set = ChunkDetections(
                first.frames[row : row + 1], points[row : row + 1], confidence[row : row + 1], ()
            )
            hands = triangulate_detections(rig, frame_set).points_m[0]  # (2, 21, 3)
            for side in range(2):
                new_points, new_confidence = _detect_hand(infer, rig, images, hands[side], side)
                if (new_confidence > 0).any(-1).sum() > 1:
                    points[row, :, side], confidence[row, :, side] = new_points, new_confidence
    return ChunkDetections(first.frames, points, confidence, tuple(problems))


def _detect_hand(
    infer: InferHand, rig: CameraRig, images: Sequence[NDArray[np.uint8] | None], points_m: FloatArray, side: int
) -> tuple[FloatArray, FloatArray]:
    """Return pixels (C, 21, 2) and confidences (C, 21) of the hand at points (21, 3) in C views."""
    points, confidence = np.full((len(rig), 21, 2), np.nan), np.zeros((len(rig), 21))
    for view, (camera, rgb) in enumerate(zip(rig, images, strict=True)):
        expected = camera.project(points_m)
        if rgb is None or not np.isfinite(expected).all() or camera.inside(expected).mean() < 1 - MAX_OUTSIDE:
            continue
        found = infer(rgb, expected, side)
        if found and np.linalg.norm(found[0] - expected, axis=1).mean() < tolerance_px(expected):
            points[view], confidence[view] = found
    return points, confidence


@lru_cache(maxsize=2)
def _open_once(settings: DetectionSettings) -> tuple[Project, InferHand]:
    """Open the project and its network once per process."""
    folder = Path(settings.network)
    exported = folder / f"{HAND_NETWORK}.xml"
    if folder.name.startswith(HAND_NETWORK) and not exported.is_file():
        raise InputError(f"{folder}: its training did not finish; run the same sonjit annotate train --network again")
    infer = load_hand_network(exported) if exported.is_file() else load_keypoint_detector(settings.network)
    return open_project(Path(settings.project)), infer
