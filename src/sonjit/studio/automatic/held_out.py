"""Compare the machine's joints with people's: fit offsets to them, and measure the error on held-out frame sets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sonjit._util.arrays import FloatArray, IntArray
from sonjit._util.data_files import read_json
from sonjit._util.errors import InputError
from sonjit.studio.annotation.project import Project
from sonjit.studio.automatic.detection import ChunkDetections, concatenate_detections, load_detections
from sonjit.studio.automatic.learning import human_frames, human_joints
from sonjit.studio.automatic.offsets import Offsets, fit_offsets, triangulate_detections
from sonjit.studio.automatic.run_folder import OFFSETS, SETTINGS, current_run
from sonjit.studio.cameras.rig import CameraRig


def fit_project_offsets(project: Project) -> Offsets:
    """Fit the offsets from the machine's keypoints to people's where both exist, and write them.

    Raises:
        InputError: The machine has not run, or people marked too little.
    """
    offsets = fit_offsets(*_load_marked(project))
    offsets.save(current_run(project) / OFFSETS)
    return offsets


class HeldOutError(NamedTuple):
    """Distances of the machine's joints from people's, for each joint of a frame set that both know.

    Attributes:
        before_m: (M,) distances of the detector's joints.
        after_m: (M,) distances with offsets that were fitted to other frame sets.
        frame_set: (M,) index of the marked frame set. Errors within one are correlated.
        not_found: Number of joints that people marked and the machine does not know.
    """

    before_m: FloatArray
    after_m: FloatArray
    frame_set: IntArray
    not_found: int


def held_out_error(project: Project, folds: int = 5) -> HeldOutError:
    """Measure the machine's error by cross-validation over the marked frame sets.

    Neighbouring frame sets, which are similar, are in the same fold.

    Raises:
        InputError: The machine has not run, people marked too little, or the run's network was trained on their marks.
    """
    if read_json(current_run(project) / SETTINGS)["network"]:
        raise InputError(
            f"{project.folder}: the network of the last run was trained on these marks, so none is held out; "
            f"run sonjit annotate auto {project.folder} without --network before"
        )
    rig, detections, human = _load_marked(project)
    count = len(human)
    if count < 2 * folds:
        raise InputError(f"{project.folder}: people marked {count} frame sets; {2 * folds} are required")
    machine = triangulate_detections(rig, detections).points_m
    after = np.full(machine.shape, np.nan)
    for part in np.array_split(np.arange(count), folds):
        held_out = np.isin(np.arange(count), part)
        offsets = fit_offsets(rig, detections.part(~held_out), human[~held_out])
        after[part] = triangulate_detections(rig, detections.part(held_out), offsets).points_m
    marked = np.isfinite(human).all(-1)
    both = marked & np.isfinite(after).all(-1)
    before_m, after_m = (np.linalg.norm(points - human, axis=-1)[both] for points in (machine, after))
    return HeldOutError(before_m, after_m, np.nonzero(both)[0], int((marked & ~both).sum()))


def _load_marked(project: Project) -> tuple[CameraRig, ChunkDetections, FloatArray]:
    """Load the run's detections in the n frame sets that people marked.

    Returns:
        Cameras of the run, detections, and people's joints (n, 2, 21, 3).
    """
    folder = current_run(project)
    human = human_frames(project)
    rig = project.rig.subset(read_json(folder / SETTINGS)["views"])
    chunks = map(load_detections, sorted((folder / "seen").glob("*.npz")))
    seen = [part for chunk in chunks if len((part := chunk.part(np.isin(chunk.frames, human))).frames)]
    if not seen:
        raise InputError(
            f"{project.folder}: no frame set has joints by people; open the page and mark some in two views"
        )
    detections = concatenate_detections(seen)
    marks = [project.store.marks(int(frame)) for frame in detections.frames]
    return rig, detections, np.stack([human_joints(project.rig, part).points_m for part in marks])
