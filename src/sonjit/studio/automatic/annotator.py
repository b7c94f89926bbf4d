"""Annotate a project automatically: check the cameras, detect hands, label them in space, and rank frame sets.

All results are in the folder `auto` of the project: a folder for each detector, its settings and the recordings, with a
file for each chunk of frame sets, its labels, offsets, and networks trained on people's marks. Chunks are written
atomically, so an interrupted run resumes with the next one.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from sonjit._util.arrays import FloatArray, IntArray
from sonjit._util.data_files import read_json
from sonjit._util.errors import InputError, JobError
from sonjit._util.files import sole_writer, write_text
from sonjit._util.json_text import json_from
from sonjit._util.pools import run_calls
from sonjit._util.progress import Progress
from sonjit.lab.training.recipes import Progress as TrainingProgress
from sonjit.lab.training.recipes import TrainingRequest, no_progress, run_recipe
from sonjit.studio.annotation.mark_store import ReviewPriority
from sonjit.studio.annotation.marks import MACHINE, Mark
from sonjit.studio.annotation.project import Project
from sonjit.studio.annotation.review_priority import review_priorities
from sonjit.studio.automatic.bone_lengths import person_bone_lengths
from sonjit.studio.automatic.detection import (
    ChunkDetections,
    DetectionSettings,
    concatenate_detections,
    detect_chunk,
    detect_frames,
    load_detections,
)
from sonjit.studio.automatic.labelling import label_chunk, marks_of_labels
from sonjit.studio.automatic.labels import Labels, label_file, load_labels
from sonjit.studio.automatic.learning import human_frames, human_joints, write_training_set
from sonjit.studio.automatic.offsets import Offsets, fit_offsets, load_offsets, triangulate_detections
from sonjit.studio.automatic.second_pass import HAND_NETWORK, refine_chunk
from sonjit.studio.calibration.consistency import check_views
from sonjit.studio.cameras.rig import CameraRig
from sonjit.studio.triangulation.bones import SIDES
from sonjit.studio.triangulation.hands import count_mirrored_hands

FOLDER: Final = "auto"
OFFSETS: Final = "offsets.json"
CURRENT: Final = "current.json"

SETTINGS: Final = "settings.json"
LABELS: Final = "labels"


_DEFAULT_SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    HAND_NETWORK: {
        "steps": "300", "batch": "16", "learning_rate": "1e-4", "held_out": "0", "augmentation.mirror": "0",
        "freeze": ",".join(("stem", "first", *(f"blocks.{block}" for block in range(7)))),
    },
    "keypoint-detector": {"steps": "20000"},
}  # fmt: skip
"""Settings for some hundred hands of one person. The first layers stay frozen, which also halves the time. No crop is
mirrored in training: a network for right hands must not learn to find adjacent left ones."""
_CHUNK_FRAME_SETS: Final = 20
_OVERLAP_FRAME_SETS: Final = 3  # frame sets of neighbouring chunks in the fit of a chunk's motion
_CHECKED_FRAME_SETS: Final = 16  # frame sets for the check of the cameras
_CHECK_THRESHOLD: Final = 0.03  # relative to the images' width, because detectors' errors grow with the size of hands


def fit_project_offsets(project: Project) -> Offsets:
    """Fit the offsets from the machine's keypoints to people's where both exist, and write them.

    Raises:
        InputError: The machine has not run, or people marked too little.
    """
    offsets = fit_offsets(*_load_marked(project))
    offsets.save(current_run(project) / OFFSETS)
    return offsets


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


def run_name(detection: DetectionSettings) -> str:
    """Return the folder name of detection settings, by the bytes of a network and independent of the project's path."""
    fields = asdict(replace(detection, project=""))
    if detection.network:
        path = Path(detection.network)
        path = path / "weights.safetensors" if path.is_dir() else path
        if not path.is_file():
            raise InputError(
                f"--network {detection.network}: no weights there; sonjit annotate train --network writes them"
            )
        fields["network"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]


def current_run(project: Project) -> Path:
    """Return the folder of the newest run.

    Raises:
        InputError: There is none.
    """
    folder = _newest_run(project)
    if folder is None:
        raise InputError(f"{project.folder} has no automatic labels: run sonjit annotate auto {project.folder}")
    return folder


def _newest_run(project: Project) -> Path | None:
    """Return the folder of the newest run, or None."""
    try:
        record = read_json(project.folder / FOLDER / CURRENT)
        return project.folder / FOLDER / str(record["run"])
    except (InputError, KeyError):
        return None


def _label_files(folder: Path) -> list[Path]:
    """Return the files of labels in order."""
    return sorted((folder / LABELS).glob("[0-9]*.parquet"))


def read_labels(project: Project) -> Iterator[Labels]:
    """Iterate over the newest labels, chunk by chunk.

    Raises:
        InputError: There are none, or a file is damaged.
    """
    files = _label_files(current_run(project))
    if not files:
        raise InputError(f"{project.folder} has no automatic labels: run sonjit annotate auto {project.folder}")
    return (load_labels(file) for file in files)


def machine_marks(project: Project, frame: int) -> list[Mark]:
    """Return the newest run's labels of one frame set, projected into the views.

    Raises:
        InputError: A file is damaged.
    """
    folder = _newest_run(project)
    if folder is None:
        return []
    end = bisect_right(project.frames, frame)  # a chunk is named by its first frame set
    candidates = (
        label_file(folder / LABELS, first) for first in reversed(project.frames[max(end - _CHUNK_FRAME_SETS, 0) : end])
    )
    chunk = next((file for file in candidates if file.is_file()), None)
    if chunk is None:
        return []
    labels = load_labels(chunk)
    rig = project.rig.subset(read_json(folder / SETTINGS)["views"])
    row = int(np.searchsorted(labels.frames, frame))
    return marks_of_labels(rig, labels.part(slice(row, row + 1)), folder.name) if frame in labels.frames else []


def train_network(
    project: Project,
    recipe: str,
    settings: Mapping[str, str],
    *,
    device: str = "cpu",
    progress: TrainingProgress = no_progress,
) -> tuple[Path, Mapping[str, object]]:
    """Train a network on every view of the frame sets that people marked, or resume a run.

    Args:
        project: Project with the marks.
        recipe: `hand-full` fine-tunes the published model, `keypoint-detector` is trained from scratch.
        settings: Settings of the recipe, as typed.
        device: Device of PyTorch, see `torch_device`.
        progress: Callback after each step.

    Returns:
        Folder of the run, which depends on marks and settings, and the recipe's result.

    Raises:
        InputError: Nobody marked a joint in two views, or the recipe lacks a setting.
    """
    is_hand_network = recipe == HAND_NETWORK
    training_set = project.folder / FOLDER / f"training-set-{recipe}"
    data = write_training_set(project, human_frames(project), training_set, as_right=is_hand_network)
    all_settings = {**_DEFAULT_SETTINGS[recipe], **settings}
    options = json.dumps(all_settings, sort_keys=True).encode()
    folder = project.folder / FOLDER / f"{recipe}-{hashlib.sha256(data.read_bytes() + options).hexdigest()[:8]}"
    request = TrainingRequest(
        recipe, folder, data=data, images=training_set / "images", device=device, settings=all_settings,
        progress=progress, export="openvino" if is_hand_network else None,
    )  # fmt: skip
    return folder, run_recipe(request)


@dataclass(frozen=True)
class AnnotatorSettings:
    """Settings of the automatic annotation.

    Attributes:
        model: Sonjit's hand model, full or lite.
        network: Folder of the network trained on this project's labels, for a second pass, or "".
        fps: Frames per second of the recordings.
        leave_out: If True, continue without cameras that do not fit.
    """

    model: str = "full"
    network: str = ""
    fps: float = 30.0
    leave_out: bool = False


@dataclass(frozen=True)
class AnnotationResult:
    """The result of a run.

    Attributes:
        frames: Number of frame sets.
        joints: Number of joints of visible hands.
        labelled: Number of joints with a label.
        kept: Number of frame sets that an earlier run had processed.
        problems: One line for each camera and image that was not used.
        folder: Folder of the run.
    """

    frames: int
    joints: int
    labelled: int
    kept: int
    problems: tuple[str, ...]
    folder: Path


def annotate(
    project: Project,
    settings: AnnotatorSettings,
    *,
    jobs: int = 1,
    workers: str = "pool",
    progress: Progress = Progress(),
) -> AnnotationResult:
    """Label all frame sets of a project automatically, or resume a run.

    Args:
        project: Open project. The ranking is written to its store, which otherwise only contains people's marks.
        settings: Settings of the annotation.
        jobs: Number of processes.
        workers: `pool`, `ray` or `ray:ADDRESS`, see `run_calls`.
        progress: Receiver of the progress in chunks.

    Raises:
        InputError: Cameras do not fit each other, no hand is visible, or a setting is impossible.
        JobError: Most hands have the shape of the other side, so the world is mirrored.
    """
    if not settings.fps > 0:
        raise InputError(f"--fps must be above 0, not {settings.fps:g}")
    with sole_writer(project.folder / FOLDER):
        return _annotate(project, settings, jobs=jobs, workers=workers, progress=progress)


def _annotate(
    project: Project,
    settings: AnnotatorSettings,
    *,
    jobs: int,
    workers: str,
    progress: Progress,
) -> AnnotationResult:
    """Detect missing chunks and label all of them."""
    first_pass, faults = _consistent_views(project, settings)
    detection = replace(first_pass, network=settings.network)
    folder, first = (project.folder / FOLDER / run_name(pass_settings) for pass_settings in (detection, first_pass))
    chunks = [project.frames[k : k + _CHUNK_FRAME_SETS] for k in range(0, len(project.frames), _CHUNK_FRAME_SETS)]
    files = [folder / "seen" / f"{number:06d}.npz" for number in range(len(chunks))]
    missing = [number for number, file in enumerate(files) if not file.is_file()]
    first_files = [first / "seen" / files[number].name for number in missing]
    undetected = [(number, file) for number, file in zip(missing, first_files, strict=True) if not file.is_file()]
    progress.start(len(undetected) + (len(missing) if settings.network else 0) + len(chunks))
    calls = [(first_pass, chunks[number], str(file)) for number, file in undetected]
    for _ in run_calls(detect_chunk, calls, jobs=jobs, workers=workers):
        progress.advance()
    if settings.network:
        refine_calls = [
            (detection, str(file), str(files[number])) for number, file in zip(missing, first_files, strict=True)
        ]
        for _ in run_calls(refine_chunk, refine_calls, jobs=jobs, workers=workers):
            progress.advance()
    skipped = len(project.frames) - sum(len(chunks[number]) for number in missing)
    return _label(
        project, settings, detection, folder=folder, files=files, faults=faults, skipped=skipped, progress=progress
    )


def _consistent_views(project: Project, settings: AnnotatorSettings) -> tuple[DetectionSettings, list[str]]:
    """Return the settings of the first pass with the cameras that agree, and the faults of the others."""
    detection = DetectionSettings(
        str(project.folder.resolve()), project.rig.names, settings.model, recordings=project.recordings()
    )
    file = project.folder / FOLDER / f"cameras-{run_name(detection)}.json"
    if not file.is_file():
        rows = np.unique(np.linspace(0, len(project.frames) - 1, _CHECKED_FRAME_SETS).round().astype(int))
        detections = detect_frames(detection, [project.frames[k] for k in rows], again=False)
        points = np.moveaxis(detections.points_px, 1, 0).astype(np.float64).reshape(len(project.rig), len(rows), 42, 2)
        if not np.isfinite(points).any():
            raise InputError(
                f"{project.folder}: no hand in {len(rows)} frame sets of any view; are these the recordings?"
            )
        widest = max(max(camera.width, camera.height) for camera in project.rig)
        result = check_views(project.rig, points, threshold_px=max(10.0, _CHECK_THRESHOLD * widest))
        record = {"good": list(result.good), "faults": [fault.message for fault in result.faults]}
        write_text(file, json_from(record, 1))
    record = read_json(file)
    faults = record["faults"]
    if faults and not settings.leave_out:
        file.unlink()
        raise InputError(f"{'; '.join(faults)}; correct it, or exclude the cameras with --leave-out")
    return replace(detection, views=tuple(record["good"]) if faults else project.rig.names), faults


def _label(
    project: Project,
    settings: AnnotatorSettings,
    detection: DetectionSettings,
    *,
    folder: Path,
    files: Sequence[Path],
    faults: Sequence[str],
    skipped: int,
    progress: Progress,
) -> AnnotationResult:
    """Label all chunks and write labels, ranking and the current run."""
    rig = project.rig.subset(detection.views)
    offsets = load_offsets(folder / OFFSETS) if (folder / OFFSETS).is_file() else None
    lengths = person_bone_lengths(project, rig, map(load_detections, files), offsets)
    write_text(folder / SETTINGS, json_from(asdict(detection), 1))
    problems, priorities = list(faults), dict[int, ReviewPriority]()
    joints = labelled = right = mirrored = 0
    written = set[Path]()
    for number in range(len(files)):
        neighbourhood = [load_detections(files[k]) for k in (number - 1, number, number + 1) if 0 <= k < len(files)]
        chunk = neighbourhood[min(number, 1)]
        detections, rows = _with_overlap(neighbourhood, min(number, 1))
        marks = [project.store.marks(int(frame)) for frame in detections.frames]
        labels = label_chunk(rig, detections, lengths_m=lengths, offsets=offsets, marks=marks, fps=settings.fps)
        expected = np.asarray((labels.views > 0).any(-1) | (labels.source > 0).any(-1), np.bool_)
        priorities |= review_priorities(
            labels.frames,
            labels.points_m,
            labels.std_m,
            views=labels.views,
            residual_px=labels.residual_px,
            lengths_m=lengths,
            times_s=labels.frames / settings.fps,
            mesh_m=labels.mesh_m,
            expected=expected,
        )
        labels, expected = labels.part(rows), expected[rows]
        correct_count, mirrored_count = count_mirrored_hands(
            [(side, hand[k]) for hand in labels.points_m for k, side in enumerate(SIDES)]
        )
        right, mirrored = right + correct_count, mirrored + mirrored_count
        joints += int(21 * expected.sum())
        labelled += int((labels.source > 0).sum())
        problems += chunk.problems
        written.add(labels.save(folder / LABELS))
        progress.advance()
    if mirrored > right:
        raise JobError(
            f"{mirrored} of {right + mirrored} hands look left where labelled right, or the reverse: "
            "is the rig or the video mirrored?"
        )
    for stale_file in set(_label_files(folder)) - written:  # files of an earlier division into chunks
        stale_file.unlink()
    project.store.delete_marks_of(MACHINE)
    project.store.set_review_priorities({frame: priorities[frame] for frame in project.frames if frame in priorities})
    write_text(project.folder / FOLDER / CURRENT, json_from({"run": folder.name}, spaced=True))
    return AnnotationResult(len(project.frames), joints, labelled, skipped, tuple(problems), folder)


def _with_overlap(chunks: Sequence[ChunkDetections], index: int) -> tuple[ChunkDetections, slice]:
    """Return a chunk with some frame sets of its neighbours, and the slice of its own rows."""
    before = chunks[index - 1] if index else None
    after = chunks[index + 1] if index + 1 < len(chunks) else None
    parts = [
        *([] if before is None else [(before, slice(max(len(before.frames) - _OVERLAP_FRAME_SETS, 0), None))]),
        (chunks[index], slice(None)),
        *([] if after is None else [(after, slice(0, _OVERLAP_FRAME_SETS))]),
    ]
    first = 0 if before is None else min(_OVERLAP_FRAME_SETS, len(before.frames))
    joined = concatenate_detections([chunk.part(rows) for chunk, rows in parts])
    return joined, slice(first, first + len(chunks[index].frames))
