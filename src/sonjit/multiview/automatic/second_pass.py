"""The second pass: a network trained on the project's own marks, at the projections of the first pass's hands.

A fine-tuned hand network sees right hands only, left ones in mirrored images, as in its training: where two hands
overlap, it knows which of them is meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import FloatArray, Image, RealArray
from sonjit.detectors.create import create_detector
from sonjit.detectors.kinds.hands import box_around_hand
from sonjit.errors import InputError
from sonjit.multiview.annotation.project import Project, open_project
from sonjit.multiview.automatic.detection import (
    LEAST_SCORE,
    ROOM,
    ChunkDetections,
    DetectionSettings,
    load_detections,
    usable_images,
)
from sonjit.multiview.automatic.labels import unswapped
from sonjit.multiview.automatic.learning import human_joints, mirrored_points
from sonjit.multiview.automatic.offsets import triangulate_detections
from sonjit.multiview.cameras.rig import CameraRig
from sonjit.multiview.triangulation.association import near_px

HAND_NETWORK: Final = "hand-full"
"""Recipe of `sonjit train`, and the name of what it exports."""
PASSES: Final = 2
"""The second one crops hands where the project's network, not the general one, placed them."""


class ProjectNetwork(Protocol):
    """Finds one hand in a crop."""

    def infer(self, rgb: Image, there_px: FloatArray, side: int) -> tuple[RealArray, RealArray] | None:
        """Keypoints (21, 2) and their confidence (21,) of the right (0) or left hand (1) around points (21, 2)."""
        ...


class FineTunedHands:
    """The network of `sonjit annotate train --network hand-full`.

    Args:
        file: exported landmark network.
    """

    def __init__(self, file: Path) -> None:
        self._hands = create_detector(
            "hands",
            landmark_model=file,
            static_image=True,
            search="fast",
            max_instances=1,
            min_presence_score=LEAST_SCORE,
            threads=1,
        )

    def infer(self, rgb: Image, there_px: FloatArray, side: int) -> tuple[RealArray, RealArray] | None:
        """See `ProjectNetwork`."""
        width, left = rgb.shape[1], side == 1
        shown = np.ascontiguousarray(rgb[:, ::-1]) if left else rgb
        box = box_around_hand(mirrored_points(there_px, width) if left else there_px)
        seen = self._hands.detect(shown, boxes=[box])
        if not seen:
            return None
        points = seen[0].keypoints[:, :2]
        return mirrored_points(points, width) if left else points, np.full(21, seen[0].score)


class TrainedDetector:
    """The network of `sonjit annotate train --network keypoint-detector`.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: str) -> None:
        from sonjit.networks.keypoint_detector import (
            KeypointDetector,  # torch is imported only where it is needed
        )

        self._network = KeypointDetector(folder)

    def infer(self, rgb: Image, there_px: FloatArray, side: int) -> tuple[RealArray, RealArray] | None:
        """See `ProjectNetwork`; it does not distinguish the sides."""
        del side
        low, high = there_px.min(0).tolist(), there_px.max(0).tolist()
        (found,) = self._network.detect(rgb, [(*low, *high)])
        return found.keypoints, np.maximum(found.confidence, 1e-3)


def refine_chunk(settings: DetectionSettings, first: str, out: str) -> str:
    """Refine a chunk that `detect_chunk` wrote, and write the result; gives the file."""
    refine_detections(settings, load_detections(Path(first))).save(Path(out))
    return out


def refine_detections(settings: DetectionSettings, first: ChunkDetections) -> ChunkDetections:
    """Detect all hands of a chunk again with `settings.network`.

    A view in which it does not find a hand is left out for that hand. The first pass's detections stay for hands that
    it did not triangulate as a whole, and for those that fewer than two views show now.
    """
    project, network = _opened(settings)
    rig = project.rig.subset(settings.views)
    people = [human_joints(project.rig, project.store.marks(int(frame))) for frame in first.frames]
    first = unswapped(rig, first, people)  # the network is asked for one side's hand
    points, confidence = first.points_px.copy(), first.confidence.copy()
    problems: list[str] = []
    frames = first.frames.tolist()
    for row, images in enumerate(usable_images(project, settings.views, frames, problems)):
        for _ in range(PASSES):
            one = ChunkDetections(first.frames[row : row + 1], points[row : row + 1], confidence[row : row + 1], ())
            hands = triangulate_detections(rig, one).points_m[0]  # (2, 21, 3)
            for side in range(2):
                now, sure = _one_hand(network, rig, images, hands[side], side)
                if (sure > 0).any(-1).sum() > 1:
                    points[row, :, side], confidence[row, :, side] = now, sure
    return ChunkDetections(first.frames, points, confidence, tuple(problems))


def _one_hand(
    network: ProjectNetwork, rig: CameraRig, images: Sequence[NDArray[np.uint8] | None], points_m: FloatArray, side: int
) -> tuple[FloatArray, FloatArray]:
    """The hand at points (21, 3) as C views show it: (C, 21, 2) pixels and (C, 21) confidence."""
    points, confidence = np.full((len(rig), 21, 2), np.nan), np.zeros((len(rig), 21))
    for view, (camera, rgb) in enumerate(zip(rig, images, strict=True)):
        there = camera.project(points_m)
        if rgb is None or not np.isfinite(there).all() or camera.inside(there).mean() < 1 - ROOM:
            continue
        seen = network.infer(rgb, there, side)
        if seen and np.linalg.norm(seen[0] - there, axis=1).mean() < near_px(there):
            points[view], confidence[view] = seen
    return points, confidence


@lru_cache(maxsize=2)
def _opened(settings: DetectionSettings) -> tuple[Project, ProjectNetwork]:
    """Project and network, once for each process."""
    folder = Path(settings.network)
    exported = folder / f"{HAND_NETWORK}.xml"
    if folder.name.startswith(HAND_NETWORK) and not exported.is_file():
        raise InputError(f"{folder}: its training did not finish; run the same sonjit annotate train --network again")
    network = FineTunedHands(exported) if exported.is_file() else TrainedDetector(settings.network)
    return open_project(Path(settings.project)), network
