"""Annotate a project automatically: check the cameras, detect hands, label them in space, and rank frame sets.

Detections are written atomically chunk by chunk, so an interrupted run resumes with the next one. The labels of all
chunks replace earlier ones together. `run_folder` reads the results.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from sonjit._util import InputError, JobError, data_files, json_from, pools
from sonjit._util.files import atomic_folder, sole_writer, write_text
from sonjit_studio import association, bones, consistency, labelling, learning, run_folder, weighing
from sonjit_studio.detection import detect_chunk, detect_frames, refine_chunk
from sonjit_studio.marks import MACHINE, ReviewPriority
from sonjit_studio.project import Project

_OVERLAP_FRAME_SETS: Final = 3  # frame sets of neighbouring chunks in the fit of a chunk's motion
_CHECKED_FRAME_SETS: Final = 16  # frame sets for the check of the cameras
_CHECK_THRESHOLD: Final = 0.03  # relative to the images' width, because detectors' errors grow with the size of hands


@dataclass(frozen=True)
class AnnotatorSettings:
    """Settings of the automatic annotation."""

    model: str = "full"
    network: str = ""  # folder of the network trained on this project's labels, for a second pass, or ""
    fps: float = 30.0
    leave_out: bool = False  # if True, continue without cameras that do not fit


@dataclass(frozen=True)
class AnnotationResult:
    """The result of a run."""

    frames: int
    joints: int
    labelled: int
    kept: int
    problems: tuple[str, ...]  # one line for each camera and image that was not used
    folder: Path
    notes: tuple[str, ...] = ()  # what people should check, one line each


def annotate(
    project: Project,
    settings: AnnotatorSettings,
    *,
    jobs: int = 1,
    workers: str = "pool",
    progress: pools.Progress = pools.Progress(),
) -> AnnotationResult:
    """Label all frame sets of a project automatically, or resume a run, on the `workers` of `run_calls`.

    The ranking is written to the project's store. InputError: cameras do not fit each other, no hand is visible, or a
    setting is impossible. JobError: most hands look like the other side's, so the world is mirrored.
    """
    if not settings.fps > 0:
        raise InputError(f"--fps must be above 0, not {settings.fps:g}")
    with sole_writer(project.folder / run_folder.FOLDER):
        first_pass, faults = _consistent_views(project, settings)
        detection = replace(first_pass, network=settings.network)
        folder, first = (
            project.folder / run_folder.FOLDER / run_folder.run_name(of_pass) for of_pass in (detection, first_pass)
        )
        chunks = [
            project.frames[k : k + run_folder.CHUNK_FRAME_SETS]
            for k in range(0, len(project.frames), run_folder.CHUNK_FRAME_SETS)
        ]
        files = [folder / "seen" / f"{number:06d}.npz" for number in range(len(chunks))]
        missing = {file: frames for file, frames in zip(files, chunks, strict=True) if not file.is_file()}
        undetected = {first / "seen" / file.name: frames for file, frames in missing.items()}
        detect_calls = [(first_pass, frames, str(file)) for file, frames in undetected.items() if not file.is_file()]
        refine_calls = [(detection, str(first / "seen" / file.name), str(file)) for file in missing]
        refine_calls = refine_calls if settings.network else []
        progress.start(len(detect_calls) + len(refine_calls) + len(chunks))
        for _ in pools.run_calls(detect_chunk, detect_calls, jobs=jobs, workers=workers):
            progress.advance()
        for _ in pools.run_calls(refine_chunk, refine_calls, jobs=jobs, workers=workers):
            progress.advance()
        kept = len(project.frames) - sum(map(len, missing.values()))
        return _label(project, settings, detection, files=files, faults=faults, kept=kept, progress=progress)


def _consistent_views(project: Project, settings: AnnotatorSettings) -> tuple[run_folder.DetectionSettings, list[str]]:
    """Return the settings of the first pass with the cameras that agree, and the faults of the others."""
    folder, recordings = str(project.folder.resolve()), project.recordings()
    detection = run_folder.DetectionSettings(folder, project.rig.names, settings.model, recordings=recordings)
    file = project.folder / run_folder.FOLDER / f"cameras-{run_folder.run_name(detection)}.json"
    if file.is_file():
        record = data_files.read_json(file)
    else:
        rows = np.unique(np.linspace(0, len(project.frames) - 1, _CHECKED_FRAME_SETS).round().astype(int))
        detections = detect_frames(detection, [project.frames[k] for k in rows], again=False)
        points = np.moveaxis(detections.points_px, 1, 0).astype(np.float64).reshape(len(project.rig), len(rows), 42, 2)
        if not np.isfinite(points).any():
            raise InputError(
                f"{project.folder}: no hand in {len(rows)} frame sets of any view; are these the recordings?"
            )
        widest = max(max(camera.width, camera.height) for camera in project.rig)
        good, faults = consistency.check_views(project.rig, points, threshold_px=max(10.0, _CHECK_THRESHOLD * widest))
        record = {"good": list(good), "faults": [fault.message for fault in faults]}
        write_text(file, json_from(record, 1))
    faults = record["faults"]
    if faults and not settings.leave_out:
        file.unlink()
        raise InputError(f"{'; '.join(faults)}; correct it, or exclude the cameras with --leave-out")
    return replace(detection, views=tuple(record["good"]) if faults else project.rig.names), faults


def _label(
    project: Project,
    settings: AnnotatorSettings,
    detection: run_folder.DetectionSettings,
    *,
    files: Sequence[Path],
    faults: Sequence[str],
    kept: int,
    progress: pools.Progress,
) -> AnnotationResult:
    """Label all chunks and write labels, ranking and the current run."""
    folder = files[0].parents[1]
    rig = project.rig.subset(detection.views)
    offsets = learning.load_offsets(folder / run_folder.OFFSETS) if (folder / run_folder.OFFSETS).is_file() else None
    lengths = labelling.person_bone_lengths(project, rig, map(run_folder.load_detections, files), offsets)
    write_text(folder / run_folder.SETTINGS, json_from(asdict(detection), 1))
    problems, priorities, doubts = list(faults), dict[int, ReviewPriority](), dict[int, str]()
    load_once = lru_cache(maxsize=3)(run_folder.load_detections)  # a chunk is also its neighbours' neighbour
    joints = labelled = right = mirrored = 0
    written = set[str]()
    with atomic_folder(folder / run_folder.LABELS) as draft:  # an interrupted run changes no label
        for number in range(len(files)):
            neighbourhood = [load_once(files[k]) for k in (number - 1, number, number + 1) if 0 <= k < len(files)]
            problems += neighbourhood[min(number, 1)].problems
            detections, rows = _add_overlap(neighbourhood, min(number, 1))
            marks = [project.store.marks(int(frame)) for frame in detections.frames]
            labels = labelling.label_chunk(
                rig, detections, lengths_m=lengths, offsets=offsets, marks=marks, fps=settings.fps
            )
            own_doubts = labelling.doubts_of_marks(rig, detections.frames, marks)
            priorities |= labelling.review_priorities(labels, lengths, settings.fps, own_doubts)
            doubts |= own_doubts
            labels = labels.part(rows)
            hands = [(side, hand[k]) for hand in labels.points_m for k, side in enumerate(bones.SIDES)]
            right, mirrored = np.add((right, mirrored), association.count_mirrored_hands(hands)).tolist()
            joints += int(21 * labels.expected.sum())
            labelled += int((labels.source > 0).sum())
            written.add(labels.save(draft).name)
            progress.advance()
        if mirrored > right:
            raise JobError(
                f"{mirrored} of {right + mirrored} hands look left where labelled right, or the reverse: "
                "is the rig or the video mirrored?"
            )
    for file in run_folder.label_files(folder):
        if file.name not in written:  # of an earlier division into chunks
            file.unlink()
    project.store.delete_marks_of(MACHINE)
    project.store.set_review_priorities({frame: priorities[frame] for frame in project.frames if frame in priorities})
    write_text(project.folder / run_folder.FOLDER / run_folder.CURRENT, json_from({"run": folder.name}, spaced=True))
    notes = tuple(filter(None, [weighing.doubts_text(doubts)]))
    return AnnotationResult(len(project.frames), joints, labelled, kept, tuple(problems), folder, notes)


def _add_overlap(chunks: Sequence[run_folder.ChunkDetections], index: int) -> tuple[run_folder.ChunkDetections, slice]:
    """Return a chunk with some frame sets of its neighbours, and the slice of its own rows."""
    before = [chunk.part(slice(-_OVERLAP_FRAME_SETS, None)) for chunk in chunks[:index]]
    after = [chunk.part(slice(0, _OVERLAP_FRAME_SETS)) for chunk in chunks[index + 1 :]]
    first = sum(len(chunk.frames) for chunk in before)
    joined = run_folder.concatenate_detections([*before, chunks[index], *after])
    return joined, slice(first, first + len(chunks[index].frames))
