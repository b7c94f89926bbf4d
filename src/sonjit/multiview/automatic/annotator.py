"""The automatic annotator: checks the cameras, detects hands in chunks, labels them in space, ranks frames for people.

Everything is in the folder `auto` of the project: a folder for each detector, its settings and the recordings as they
were, with a file for each chunk of frame sets, its labels, offsets and networks trained on people's marks. A chunk is
written whole or not at all, so a run that was stopped resumes with the next one.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from sonjit.arrays import FloatArray, IntArray
from sonjit.errors import InputError, JobError
from sonjit.files import sole_writer, write_text
from sonjit.multiview.annotation.agreement import rank
from sonjit.multiview.annotation.marks import MACHINE, Mark, Need
from sonjit.multiview.annotation.project import Project
from sonjit.multiview.automatic.detection import (
    ChunkDetections,
    DetectionSettings,
    detect_chunk,
    detect_frames,
    joined_detections,
    load_detections,
)
from sonjit.multiview.automatic.labels import (
    Labels,
    label_chunk,
    label_file,
    load_labels,
    marks_of_labels,
)
from sonjit.multiview.automatic.learning import human_frames, human_joints, write_training_set
from sonjit.multiview.automatic.offsets import Offsets, fit_offsets, load_offsets, triangulate_detections
from sonjit.multiview.automatic.second_pass import HAND_NETWORK, refine_chunk
from sonjit.multiview.calibration.consistency import check_views
from sonjit.multiview.cameras.rig import CameraRig
from sonjit.multiview.triangulation.bones import SIDES, usual_lengths
from sonjit.multiview.triangulation.hands import mirrored_hands
from sonjit.pools import run_calls
from sonjit.training.recipes import Progress, TrainingRequest, no_progress, run_recipe

FOLDER: Final = "auto"
OFFSETS: Final = "offsets.json"
CURRENT: Final = "current.json"

SETTINGS: Final = "settings.json"
LABELS: Final = "labels"


def fit_project_offsets(project: Project) -> Offsets:
    """Fit the offsets from the machine's keypoints to people's, from frame sets that have both, and write them.

    Raises:
        InputError: the machine has not run, or people marked too little.
    """
    offsets = fit_offsets(*_marked(project))
    offsets.save(current_run(project) / OFFSETS)
    return offsets


def _marked(project: Project) -> tuple[CameraRig, ChunkDetections, FloatArray]:
    """The run's cameras, its detections in the n frame sets that people marked, and people's joints (n, 2, 21, 3)."""
    folder = current_run(project)
    human = human_frames(project)
    rig = project.rig.subset(json.loads((folder / SETTINGS).read_text("utf-8"))["views"])
    chunks = map(load_detections, sorted((folder / "seen").glob("*.npz")))
    seen = [own for chunk in chunks if len((own := chunk.part(np.isin(chunk.frames, human))).frames)]
    if not seen:
        raise InputError(
            f"{project.folder}: no frame set has joints by people; open the page and mark some in two views"
        )
    both = joined_detections(seen)
    marks = [project.store.marks(int(frame)) for frame in both.frames]
    return rig, both, np.stack([human_joints(project.rig, own).points_m for own in marks])


class HeldOutError(NamedTuple):
    """How far the machine's joints lie from people's, each joint of a frame set that both know once.

    Attributes:
        before_m: (M,) of the detector's joints.
        after_m: (M,) with offsets that were fitted to other frame sets.
        frame_set: (M,) which of the marked frame sets each is of; joints of one are wrong together.
        not_found: joints that people marked and the machine does not know.
    """

    before_m: FloatArray
    after_m: FloatArray
    frame_set: IntArray
    not_found: int


def held_out_error(project: Project, folds: int = 5) -> HeldOutError:
    """The machine's error on frame sets that its offsets have not seen: each fold is judged by the other ones.

    Neighbouring frame sets, which are alike, are in one fold.

    Raises:
        InputError: the machine has not run, people marked too little, or the run's network was trained on their marks.
    """
    if json.loads((current_run(project) / SETTINGS).read_text("utf-8"))["network"]:
        raise InputError(
            f"{project.folder}: the network of the last run was trained on these marks, so none is held out; "
            f"run sonjit annotate auto {project.folder} without --network before"
        )
    rig, seen, human = _marked(project)
    count = len(human)
    if count < 2 * folds:
        raise InputError(f"{project.folder}: people marked {count} frame sets; {2 * folds} are needed")
    machine = triangulate_detections(rig, seen).points_m
    after = np.full(machine.shape, np.nan)
    for part in np.array_split(np.arange(count), folds):
        held_out = np.isin(np.arange(count), part)
        offsets = fit_offsets(rig, seen.part(~held_out), human[~held_out])
        after[part] = triangulate_detections(rig, seen.part(held_out), offsets).points_m
    marked = np.isfinite(human).all(-1)
    both = marked & np.isfinite(after).all(-1)
    before_m, after_m = (np.linalg.norm(points - human, axis=-1)[both] for points in (machine, after))
    return HeldOutError(before_m, after_m, np.nonzero(both)[0], int((marked & ~both).sum()))


def run_name(detection: DetectionSettings) -> str:
    """The folder's name for detection settings, wherever the project lies; a network counts by its bytes."""
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
    """The folder of the newest run.

    Raises:
        InputError: there is none.
    """
    folder = _newest_run(project)
    if folder is None:
        raise InputError(f"{project.folder} has no automatic labels: run sonjit annotate auto {project.folder}")
    return folder


def _newest_run(project: Project) -> Path | None:
    try:
        record = json.loads((project.folder / FOLDER / CURRENT).read_text("utf-8"))
        return project.folder / FOLDER / str(record["run"])
    except (OSError, ValueError, KeyError):
        return None


def _label_files(folder: Path) -> list[Path]:
    return sorted((folder / LABELS).glob("[0-9]*.parquet"))


def read_labels(project: Project) -> Iterator[Labels]:
    """The newest labels, chunk by chunk.

    Raises:
        InputError: there are none, or a file is damaged.
    """
    files = _label_files(current_run(project))
    if not files:
        raise InputError(f"{project.folder} has no automatic labels: run sonjit annotate auto {project.folder}")
    return (load_labels(file) for file in files)


def machine_marks(project: Project, frame: int) -> list[Mark]:
    """What the newest run says of one frame set: its labels, projected into the views.

    Raises:
        InputError: a file is damaged.
    """
    folder = _newest_run(project)
    if folder is None:
        return []
    place = bisect_right(project.frames, frame)  # a chunk is named by its first frame set
    begun = (label_file(folder / LABELS, first) for first in reversed(project.frames[max(place - _CHUNK, 0) : place]))
    chunk = next((file for file in begun if file.is_file()), None)
    if chunk is None:
        return []
    labels = load_labels(chunk)
    rig = project.rig.subset(json.loads((folder / SETTINGS).read_text("utf-8"))["views"])
    row = int(np.searchsorted(labels.frames, frame))
    return marks_of_labels(rig, labels.part(slice(row, row + 1)), folder.name) if frame in labels.frames else []


_USUAL: Final[Mapping[str, Mapping[str, str]]] = {
    HAND_NETWORK: {
        "steps": "300", "batch": "16", "learning_rate": "1e-4", "held_out": "0", "augmentation.mirror": "0",
        "freeze": ",".join(("stem", "first", *(f"blocks.{place}" for place in range(7)))),
    },
    "keypoint-detector": {"steps": "20000"},
}  # fmt: skip
"""Settings for some hundred hands of one person; the first layers stay frozen, which also halves the time. No crop is
mirrored in training: a network that is to see right hands only must not learn to find left ones beside them."""


def train_network(
    project: Project, recipe: str, settings: Mapping[str, str], *, device: str = "cpu", progress: Progress = no_progress
) -> tuple[Path, Mapping[str, object]]:
    """Train a network on every view of the frame sets that people marked, or resume a run.

    Args:
        project: whose marks count.
        recipe: `hand-full` fine-tunes the published model, `keypoint-detector` is trained from scratch.
        settings: of the recipe, as typed.
        device: see `torch_device`.
        progress: called after each step.

    Returns:
        The run's folder, another one for other marks or settings; and the recipe's result.

    Raises:
        InputError: nobody marked a joint in two views, or a setting that the recipe does not have.
    """
    hands = recipe == HAND_NETWORK
    training_set = project.folder / FOLDER / f"training-set-{recipe}"
    data = write_training_set(project, human_frames(project), training_set, as_right=hands)
    chosen = {**_USUAL[recipe], **settings}
    options = json.dumps(chosen, sort_keys=True).encode()
    folder = project.folder / FOLDER / f"{recipe}-{hashlib.sha256(data.read_bytes() + options).hexdigest()[:8]}"
    request = TrainingRequest(
        recipe, folder, data=data, images=training_set / "images", device=device, settings=chosen,
        progress=progress, export="openvino" if hands else None,
    )  # fmt: skip
    return folder, run_recipe(request)


_CHUNK: Final = 20
_OVERLAP: Final = 3  # frame sets of the neighbouring chunks that a chunk's motion is fitted with
_ASKED: Final = 16  # frame sets by which the cameras are checked
_SAMPLED: Final = 1000  # frame sets that lengths of bones are taken from
_FEWEST_HUMAN: Final = 5  # frame sets annotated by people, from which their bones count
_CHECK_OF_WIDTH: Final = 0.03  # of the images' width: detectors err by the size of hands, not by pixels


@dataclass(frozen=True)
class AnnotatorSettings:
    """How a project is annotated.

    Attributes:
        model: Sonjit's hand model, full or lite.
        network: folder of the network trained on this project's labels, for a second pass; "" for none.
        fps: frames per second of the recordings.
        leave_out: continue without cameras that do not fit.
    """

    model: str = "full"
    network: str = ""
    fps: float = 30.0
    leave_out: bool = False


@dataclass(frozen=True)
class AnnotationResult:
    """The result of a run.

    Attributes:
        frames: number of frame sets.
        joints: that could have a label, of the hands that are visible.
        labelled: that have one.
        kept: frame sets that an earlier run had processed.
        problems: one line for each camera and image that was not used.
        folder: of the run.
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
    expect: Callable[[int | None], None] = lambda _: None,
    advance: Callable[[], None] = lambda: None,
) -> AnnotationResult:
    """Label all frame sets of a project automatically, or resume a run.

    Args:
        project: open; the ranking goes to its store, which keeps people's marks alone.
        settings: how.
        jobs: processes.
        workers: `pool`, `ray` or `ray:ADDRESS`, see `run_calls`.
        expect: called with the number of steps.
        advance: called after each.

    Raises:
        InputError: cameras do not fit each other, no hand is seen, or a setting is impossible.
        JobError: most hands have the shape of the other side: the world is mirrored.
    """
    if not settings.fps > 0:
        raise InputError(f"--fps {settings.fps:g}: give frames per second, above 0")
    with sole_writer(project.folder / FOLDER):
        return _annotate(project, settings, jobs, workers, expect, advance)


def _annotate(
    project: Project,
    settings: AnnotatorSettings,
    jobs: int,
    workers: str,
    expect: Callable[[int | None], None],
    advance: Callable[[], None],
) -> AnnotationResult:
    first_pass, faults = _checked_views(project, settings)
    detection = replace(first_pass, network=settings.network)
    folder, first = (project.folder / FOLDER / run_name(one) for one in (detection, first_pass))
    chunks = [project.frames[k : k + _CHUNK] for k in range(0, len(project.frames), _CHUNK)]
    files = [folder / "seen" / f"{number:06d}.npz" for number in range(len(chunks))]
    missing = [number for number, file in enumerate(files) if not file.is_file()]
    begun = [first / "seen" / files[number].name for number in missing]
    unseen = [(number, file) for number, file in zip(missing, begun, strict=True) if not file.is_file()]
    expect(len(unseen) + (len(missing) if settings.network else 0) + len(chunks))
    calls = [(first_pass, chunks[number], str(file)) for number, file in unseen]
    for _ in run_calls(detect_chunk, calls, jobs=jobs, workers=workers):
        advance()
    if settings.network:
        again = [(detection, str(file), str(files[number])) for number, file in zip(missing, begun, strict=True)]
        for _ in run_calls(refine_chunk, again, jobs=jobs, workers=workers):
            advance()
    kept = len(project.frames) - sum(len(chunks[number]) for number in missing)
    return _label(project, settings, detection, folder, files, faults, kept, advance)


def _checked_views(project: Project, settings: AnnotatorSettings) -> tuple[DetectionSettings, list[str]]:
    """The settings of the first pass with the cameras that fit each other; lines about those that are left out."""
    detection = DetectionSettings(
        str(project.folder.resolve()), project.rig.names, settings.model, recordings=project.recordings()
    )
    file = project.folder / FOLDER / f"cameras-{run_name(detection)}.json"
    if not file.is_file():
        wanted = np.unique(np.linspace(0, len(project.frames) - 1, _ASKED).round().astype(int))
        seen = detect_frames(detection, [project.frames[k] for k in wanted], again=False)
        points = np.moveaxis(seen.points_px, 1, 0).astype(np.float64).reshape(len(project.rig), len(wanted), 42, 2)
        if not np.isfinite(points).any():
            raise InputError(
                f"{project.folder}: no hand in {len(wanted)} frame sets of any view; are these the recordings?"
            )
        widest = max(max(camera.width, camera.height) for camera in project.rig)
        checked = check_views(project.rig, points, threshold_px=max(10.0, _CHECK_OF_WIDTH * widest))
        record = {"good": list(checked.good), "faults": [fault.message for fault in checked.faults]}
        write_text(file, json.dumps(record, indent=1))
    record = json.loads(file.read_text("utf-8"))
    faults = record["faults"]
    if faults and not settings.leave_out:
        file.unlink()
        raise InputError(f"{'; '.join(faults)}; fix that, or leave the cameras out with --leave-out")
    return replace(detection, views=tuple(record["good"]) if faults else project.rig.names), faults


def _label(
    project: Project,
    settings: AnnotatorSettings,
    detection: DetectionSettings,
    folder: Path,
    files: Sequence[Path],
    faults: Sequence[str],
    kept: int,
    advance: Callable[[], None],
) -> AnnotationResult:
    rig = project.rig.subset(detection.views)
    offsets = load_offsets(folder / OFFSETS) if (folder / OFFSETS).is_file() else None
    lengths = _lengths(project, detection, files, offsets)
    write_text(folder / SETTINGS, json.dumps(asdict(detection), indent=1))
    problems, needs = list(faults), dict[int, Need]()
    joints = labelled = right = wrong = 0
    written = set[Path]()
    for number in range(len(files)):
        beside = [load_detections(files[k]) for k in (number - 1, number, number + 1) if 0 <= k < len(files)]
        own = beside[min(number, 1)]
        seen, rows = _with_overlap(beside, min(number, 1))
        marks = [project.store.marks(int(frame)) for frame in seen.frames]
        labels = label_chunk(rig, seen, lengths, offsets, marks, settings.fps)
        expected = np.asarray((labels.views > 0).any(-1) | (labels.source > 0).any(-1), np.bool_)
        needs |= rank(
            labels.frames, labels.points_m, labels.spread_m, labels.views, labels.residual_px, lengths,
            labels.frames / settings.fps, labels.mesh_m, expected,
        )  # fmt: skip
        labels, expected = labels.part(rows), expected[rows]
        agree, against = mirrored_hands([(side, hand[k]) for hand in labels.points_m for k, side in enumerate(SIDES)])
        right, wrong = right + agree, wrong + against
        joints += int(21 * expected.sum())
        labelled += int((labels.source > 0).sum())
        problems += own.problems
        written.add(labels.save(folder / LABELS))
        advance()
    if wrong > right:
        raise JobError(
            f"{wrong} of {right + wrong} hands have the shape of the other side: the world or the images are mirrored"
        )
    for stale in set(_label_files(folder)) - written:  # other frame sets began a chunk then
        stale.unlink()
    project.store.forget(MACHINE)
    project.store.set_needs({frame: needs[frame] for frame in project.frames if frame in needs})
    write_text(project.folder / FOLDER / CURRENT, json.dumps({"run": folder.name}))
    return AnnotationResult(len(project.frames), joints, labelled, kept, tuple(problems), folder)


def _with_overlap(chunks: Sequence[ChunkDetections], own: int) -> tuple[ChunkDetections, slice]:
    """A chunk with some frame sets of its neighbours, and which rows are its own."""
    before = chunks[own - 1] if own else None
    after = chunks[own + 1] if own + 1 < len(chunks) else None
    taken = [
        *([] if before is None else [(before, slice(max(len(before.frames) - _OVERLAP, 0), None))]),
        (chunks[own], slice(None)),
        *([] if after is None else [(after, slice(0, _OVERLAP))]),
    ]
    first = 0 if before is None else min(_OVERLAP, len(before.frames))
    joined = joined_detections([chunk.part(rows) for chunk, rows in taken])
    return joined, slice(first, first + len(chunks[own].frames))


def _lengths(
    project: Project, detection: DetectionSettings, files: Sequence[Path], offsets: Offsets | None
) -> FloatArray:
    """(2, 20) the person's bones: from people's joints where they suffice, else the machine's over the recording."""
    rig = project.rig.subset(detection.views)
    human = human_frames(project)[:_SAMPLED]
    joints = [human_joints(project.rig, project.store.marks(frame)).points_m for frame in human]
    every = max(1, len(project.frames) // _SAMPLED)
    chunks = map(load_detections, files)
    machine = np.concatenate([triangulate_detections(rig, seen, offsets).points_m[::every] for seen in chunks])
    if not np.isfinite(machine).any():
        raise InputError(
            f"{project.folder}: no hand is seen by two views at once; are the views of the same frame sets?"
        )
    usual = np.stack([usual_lengths(machine[:, side]) for side in range(2)])
    if len(joints) < _FEWEST_HUMAN:
        return usual
    human_usual = np.stack([usual_lengths(np.stack(joints)[:, side]) for side in range(2)])
    return np.where(np.isfinite(human_usual), human_usual, usual)
