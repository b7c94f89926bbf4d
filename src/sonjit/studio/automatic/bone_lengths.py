"""Measure a person's bone lengths from people's joints or the machine's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.errors import InputError
from sonjit.studio.annotation.project import Project
from sonjit.studio.automatic.detection import ChunkDetections
from sonjit.studio.automatic.learning import human_frames, human_joints
from sonjit.studio.automatic.offsets import Offsets, triangulate_detections
from sonjit.studio.cameras.rig import CameraRig
from sonjit.studio.triangulation.bones import median_lengths

SAMPLED_FRAME_SETS: Final = 1000
"""Number of frame sets, spread over the recording, from which bone lengths are measured."""
_MIN_HUMAN: Final = 5
"""Number of frame sets annotated by people from which their bones are used."""


def person_bone_lengths(
    project: Project, rig: CameraRig, chunks: Iterable[ChunkDetections], offsets: Offsets | None
) -> FloatArray:
    """Return the lengths (2, 20) of a person's bones in metres.

    People's joints determine them if enough frame sets are annotated, otherwise the machine's.

    Args:
        project: Project with the marks.
        rig: Rig of the cameras of the detections.
        chunks: Detections of the recording.
        offsets: Offsets from the detector's keypoints to people's, or None.

    Raises:
        InputError: No hand is visible in two views.
    """
    every = max(1, len(project.frames) // SAMPLED_FRAME_SETS)
    sample = slice(None, None, every)
    machine = np.concatenate(
        [triangulate_detections(rig, detections.part(sample), offsets).points_m for detections in chunks]
    )
    if not np.isfinite(machine).any():
        raise InputError(
            f"{project.folder}: no hand is visible in two views of a frame set; do the views show the same frame sets?"
        )
    lengths = _median_lengths(machine)
    human = _evenly_spaced(human_frames(project), SAMPLED_FRAME_SETS)
    if len(human) < _MIN_HUMAN:
        return lengths
    joints = [human_joints(project.rig, project.store.marks(frame)).points_m for frame in human]
    human_lengths = _median_lengths(np.stack(joints))
    return np.where(np.isfinite(human_lengths), human_lengths, lengths)


def _evenly_spaced(frames: tuple[int, ...], count: int) -> list[int]:
    """Return at most `count` of the frame sets, evenly spaced from the first to the last."""
    return [frames[row] for row in np.unique(np.linspace(0, len(frames) - 1, count).round().astype(int)) if frames]


def _median_lengths(points_m: FloatArray) -> FloatArray:
    """Return the median lengths (2, 20) of the bones of joints (N, 2, 21, 3)."""
    return np.stack([median_lengths(points_m[:, side]) for side in range(2)])
