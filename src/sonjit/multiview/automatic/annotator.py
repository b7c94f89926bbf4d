"""The automatic annotator: cameras checked, every view looked at in chunks, labels in space, frames ranked for people.

Everything lies in the folder `auto` of the project: a folder for each way of looking, with a file for each chunk
of frame sets. A chunk is there whole or not at all, so a run that was stopped at any moment goes on with the next one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sonjit.errors import InputError, JobError
from sonjit.files import write_text
from sonjit.multiview.annotation.marks import SIDES
from sonjit.multiview.annotation.ranking import rank
from sonjit.multiview.annotation.store import Need
from sonjit.multiview.automatic.labels import label_chunk, triangulate_seen
from sonjit.multiview.automatic.learning import human_frames, human_joints, load_offsets
from sonjit.multiview.automatic.marks import marks_of_labels
from sonjit.multiview.automatic.runs import CURRENT, FOLDER, OFFSETS, run_name
from sonjit.multiview.automatic.second_look import see_chunk_again
from sonjit.multiview.automatic.views_run import LookSettings, SeenChunk, load_seen, look, see_chunk
from sonjit.multiview.calibration.ambiguity import mirrored_hands
from sonjit.multiview.calibration.consistency import check_views
from sonjit.multiview.triangulation.bones import usual_lengths
from sonjit.pools import run_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from sonjit.multiview.annotation.project import Project
    from sonjit.multiview.automatic.learning import Offsets
    from sonjit.pools import Workers

_CHUNK: Final = 20
_OVERLAP: Final = 3  # frame sets of the chunks beside, that a chunk's motion is fitted with
_ASKED: Final = 16  # frame sets by which the cameras are checked
_SAMPLED: Final = 1000  # frame sets that lengths of bones are taken from
_FEWEST_HUMAN: Final = 5  # frame sets by people from which their bones count
_CHECK_OF_WIDTH: Final = 0.03  # views may be so far apart: detectors err by the size of hands, not by pixels


@dataclass(frozen=True)
class AnnotatorSettings:
    """How a project is annotated.

    Attributes:
        model: Sonjit's hands, full or lite.
        network: folder of the network that was taught by this project's labels, which looks again; "" for none.
        fps: frame sets a second, by their numbers.
        leave_out: go on without cameras that do not fit.
    """

    model: str = "full"
    network: str = ""
    fps: float = 30.0
    leave_out: bool = False


@dataclass(frozen=True)
class Annotated:
    """What a run did.

    Attributes:
        frames: frame sets.
        joints: that could have a label, of the hands that are there.
        labelled: that have one.
        kept: frame sets that were looked at before.
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
    workers: Workers = "pool",
    expect: Callable[[int | None], None] = lambda _: None,
    advance: Callable[[], None] = lambda: None,
) -> Annotated:
    """Label all frame sets of a project by machine, or go on with it.

    Args:
        project: open; its store gets the machine's marks and the ranking.
        settings: how.
        jobs: processes.
        workers: who does the chunks.
        expect: told how many steps there are.
        advance: called after each.

    Raises:
        InputError: cameras do not fit each other, no hand is seen, or a setting cannot be.
        JobError: the hands stand in space as the other ones: the world is mirrored.
    """
    if not settings.fps > 0:
        raise InputError(f"--fps {settings.fps:g}: give frame sets a second, above 0")
    first_as, findings = _checked_views(project, settings)
    look_as = replace(first_as, network=settings.network)
    folder, first = (project.folder / FOLDER / run_name(one) for one in (look_as, first_as))
    chunks = [project.frames[k : k + _CHUNK] for k in range(0, len(project.frames), _CHUNK)]
    files = [folder / "seen" / f"{number:06d}.npz" for number in range(len(chunks))]
    missing = [number for number, file in enumerate(files) if not file.is_file()]
    begun = [first / "seen" / files[number].name for number in missing]
    unseen = [(number, file) for number, file in zip(missing, begun, strict=True) if not file.is_file()]
    expect(len(unseen) + (len(missing) if settings.network else 0) + len(chunks))
    calls = [(first_as, chunks[number], str(file)) for number, file in unseen]
    for _ in run_calls(see_chunk, calls, jobs=jobs, workers=workers):
        advance()
    if settings.network:
        again = [(look_as, str(file), str(files[number])) for number, file in zip(missing, begun, strict=True)]
        for _ in run_calls(see_chunk_again, again, jobs=jobs, workers=workers):
            advance()
    kept = len(project.frames) - sum(len(chunks[number]) for number in missing)
    return _label(project, settings, look_as, folder, files, findings, kept, advance)


def _checked_views(project: Project, settings: AnnotatorSettings) -> tuple[LookSettings, list[str]]:
    """How to look first, after the cameras were found to fit each other; lines about those that are left out."""
    look_as = LookSettings(str(project.folder.resolve()), project.rig.names, settings.model)
    file = project.folder / FOLDER / f"checked-{run_name(look_as)}.json"
    if not file.is_file():
        wanted = np.unique(np.linspace(0, len(project.frames) - 1, _ASKED).round().astype(int))
        seen = look(look_as, [project.frames[k] for k in wanted], again=False)
        points = np.moveaxis(seen.points_px, 1, 0).astype(np.float64).reshape(len(project.rig), len(wanted), 42, 2)
        if not np.isfinite(points).any():
            raise InputError(
                f"{project.folder}: no hand in {len(wanted)} frame sets of any view; are these the recordings?"
            )
        widest = max(max(camera.width, camera.height) for camera in project.rig)
        checked = check_views(project.rig, points, threshold_px=max(10.0, _CHECK_OF_WIDTH * widest))
        record = {"good": checked.good, "findings": [finding.says for finding in checked.findings]}
        write_text(file, json.dumps(record, indent=1), of_run=True)
    record: dict[str, Any] = json.loads(file.read_text("utf-8"))
    findings: list[str] = record["findings"]
    if findings and not settings.leave_out:
        file.unlink()
        raise InputError(f"{'; '.join(findings)}; mend that, or go on without by --leave-out")
    return replace(look_as, views=tuple(record["good"]) if findings else project.rig.names), findings


def _label(
    project: Project,
    settings: AnnotatorSettings,
    look_as: LookSettings,
    folder: Path,
    files: Sequence[Path],
    findings: Sequence[str],
    kept: int,
    advance: Callable[[], None],
) -> Annotated:
    rig = project.rig.subset(look_as.views)
    offsets = load_offsets(folder / OFFSETS) if (folder / OFFSETS).is_file() else None
    lengths = _lengths(project, look_as, files, offsets)
    write_text(folder / "look.json", json.dumps(asdict(look_as), indent=1), of_run=True)
    problems, needs = list(findings), dict[int, Need]()
    joints = labelled = right = wrong = 0
    version = f"{folder.name}.{project.store.version}"
    for number, file in enumerate(files):
        beside = [load_seen(files[k]) for k in (number - 1, number, number + 1) if 0 <= k < len(files)]
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
        labels.save(folder / "labels" / file.name)
        project.store.add(marks_of_labels(rig, labels, version))
        advance()
    if wrong > right:
        raise JobError(
            f"{wrong} of {right + wrong} hands stand in space as the other one: the world or the images are mirrored"
        )
    project.store.set_needs({frame: needs[frame] for frame in project.frames if frame in needs})
    write_text(project.folder / FOLDER / CURRENT, json.dumps({"run": folder.name}), of_run=True)
    return Annotated(len(project.frames), joints, labelled, kept, tuple(problems), folder)


def _with_overlap(chunks: Sequence[SeenChunk], own: int) -> tuple[SeenChunk, slice]:
    """A chunk with some frame sets of those beside it, and which rows are its own."""
    before = chunks[own - 1] if own else None
    after = chunks[own + 1] if own + 1 < len(chunks) else None
    taken = [
        *([] if before is None else [(before, slice(max(len(before.frames) - _OVERLAP, 0), None))]),
        (chunks[own], slice(None)),
        *([] if after is None else [(after, slice(0, _OVERLAP))]),
    ]
    first = 0 if before is None else min(_OVERLAP, len(before.frames))
    joined = SeenChunk(
        np.concatenate([chunk.frames[rows] for chunk, rows in taken]),
        np.concatenate([chunk.points_px[rows] for chunk, rows in taken]),
        np.concatenate([chunk.confidence[rows] for chunk, rows in taken]),
        (),
    )
    return joined, slice(first, first + len(chunks[own].frames))


def _lengths(
    project: Project, look_as: LookSettings, files: Sequence[Path], offsets: Offsets | None
) -> NDArray[np.float64]:
    """(2, 20) the person's bones: from people's joints where they tell, else the machine's over the recording."""
    rig = project.rig.subset(look_as.views)
    human = human_frames(project)[:_SAMPLED]
    joints = [human_joints(project.rig, project.store.marks(frame)).points_m for frame in human]
    every = max(1, len(project.frames) // _SAMPLED)
    rows: list[NDArray[np.float64]] = []
    for file in files:
        found = triangulate_seen(rig, load_seen(file)).points_m[::every]
        rows.append(found if offsets is None else np.stack([offsets.correct(found[:, k], k) for k in range(2)], 1))
    machine = np.concatenate(rows)
    if not np.isfinite(machine).any():
        raise InputError(
            f"{project.folder}: no hand is seen by two views at once; are the views of the same frame sets?"
        )
    usual = np.stack([usual_lengths(machine[:, side]) for side in range(2)])
    if len(joints) < _FEWEST_HUMAN:
        return usual
    told = np.stack([usual_lengths(np.stack(joints)[:, side]) for side in range(2)])
    return np.where(np.isfinite(told), told, usual)
