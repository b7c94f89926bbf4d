"""Releases: a data set from annotated projects, its images without fingerprint ridges and faces.

A release is written beside its final name and renamed when it is complete; a run that was stopped resumes with the
frame sets that are missing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.datasets.hands.interhand import skeleton_lines
from sonjit.errors import InputError
from sonjit.files import failing_as_job, write_bytes, write_text
from sonjit.multiview.automatic.runs import read_labels
from sonjit.multiview.cameras.rig import CameraRig, RigCamera
from sonjit.multiview.release.data_card import SPLITS, Capture, DataCard, page, split_people
from sonjit.multiview.release.layout import ImageRecord, SplitFiles, Statistics
from sonjit.multiview.release.privacy import FacesFound, Sampling, released_image, sampling_of
from sonjit.synthesis.output.layouts import jpeg_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from sonjit.multiview.annotation.project import Project

FPS: Final = 5.0
_WORK: Final = "work"
_SUMS: Final = "SHA256SUMS"


@dataclass(frozen=True)
class ReleaseResult:
    """A complete release.

    Attributes:
        images: in all splits.
        frame_sets: likewise.
        faces: found in all images, including those that were left out.
        views: how finely each resolves skin, by capture and view.
    """

    images: int
    frame_sets: int
    faces: FacesFound
    views: Mapping[str, Sampling]


@dataclass(frozen=True)
class _FrameSet:
    frame: int
    points_m: NDArray[np.float64]
    source: NDArray[np.int64]
    spread_m: NDArray[np.float64]
    seen: NDArray[np.bool_]  # (C, 2, 21) of the labelled views


def release(
    projects: Sequence[Project],
    card: DataCard,
    out: Path,
    *,
    fps: float = 30.0,
    expect: Callable[[int | None], None] = lambda _: None,
    advance: Callable[[], None] = lambda: None,
) -> ReleaseResult:
    """Write a release, or resume one.

    Args:
        projects: annotated; the card's captures are named like their folders.
        card: licence, consent, people, performances.
        out: folder that must not be there yet.
        fps: frames per second of the recordings; five per second are released.
        expect: called with the number of steps.
        advance: called after each.

    Raises:
        InputError: the folder exists, a project has no labels, or the card has no person for it or one in two splits.
    """
    if out.exists():
        raise InputError(f"{out} exists already: name a new folder")
    if not fps > 0:
        raise InputError(f"--fps {fps:g}: give frames per second, above 0")
    captures = [_capture(card, project) for project in projects]
    splits = split_people(captures)
    draft = out.with_name(f".{out.name}.part")
    _begin(draft, projects, card, fps)
    chosen = [_chosen(project, fps) for project in projects]
    expect(sum(len(frame_sets) for frame_sets in chosen))
    files = {split: SplitFiles(split) for split in SPLITS if split in splits.values()}
    views: dict[str, Sampling] = {}
    counted, faces = Statistics(), FacesFound()
    for number, (project, capture, frame_sets) in enumerate(zip(projects, captures, chosen, strict=True)):
        rig = project.rig
        samplings = {camera.name: sampling_of(camera, _nearest(camera, frame_sets)) for camera in rig}
        views |= {f"{project.folder.name}/{name}": one for name, one in samplings.items()}
        small = CameraRig(_small(camera, samplings[camera.name].size) for camera in rig)
        own = files[splits[capture.subject]]
        own.add_cameras(str(number), small)
        for frame_set in frame_sets:
            found = _write_frame_set(draft, project, small, number, capture, own, frame_set)
            counted.add(
                own.split,
                capture,
                frame_set.frame,
                frame_set.source,
                frame_set.spread_m,
                sum(not one.withheld for one in found),
            )
            faces = FacesFound(*(sum(of_all) for of_all in zip(faces, *found, strict=True)))
            advance()
    write_text(draft / "annotations" / "skeleton.txt", skeleton_lines(), of_run=True)
    for one in files.values():
        one.write(draft)
    counts = counted.counts()
    write_text(draft / "statistics.json", json.dumps(counts, indent=1) + "\n", of_run=True)
    write_text(draft / "README.md", page(card, counts, views, faces), of_run=True)
    _finish(draft, out)
    return ReleaseResult(sum(len(one.images) for one in files.values()), counted.frame_sets, faces, views)


def _capture(card: DataCard, project: Project) -> Capture:
    name = project.folder.resolve().name
    if name not in card.captures:
        raise InputError(f"the card has no capture {name}: add [captures.{name}] with subject")
    return card.captures[name]


def _begin(draft: Path, projects: Sequence[Project], card: DataCard, fps: float) -> None:
    """Make the draft's folder, or check that it belongs to the same release."""
    chosen = {
        name: [str(value) for value in (one.subject, one.split, one.sequences)] for name, one in card.captures.items()
    }
    labels = [_digest(project) for project in projects]
    text = json.dumps(
        {"projects": [str(one.folder.resolve()) for one in projects], "fps": fps, "captures": chosen, "labels": labels}
    )
    kept = draft / _WORK / "settings.json"
    if kept.is_file() and kept.read_text("utf-8") != text:
        raise InputError(f"{draft} is an unfinished release with other settings or labels: delete it")
    write_text(kept, text, of_run=True)


def _digest(project: Project) -> str:
    digest = hashlib.sha256()
    for labels in read_labels(project):
        digest.update(labels.points_m.tobytes())
    return digest.hexdigest()


def _chosen(project: Project, fps: float) -> list[_FrameSet]:
    """The labelled frame sets to release: the first in each fifth of a second.

    Raises:
        InputError: none has a label.
    """
    found: list[_FrameSet] = []
    last = -1
    for labels in read_labels(project):
        for row, frame in enumerate(labels.frames.tolist()):
            tick = int(frame * FPS / fps + 1e-6)
            if tick != last and (labels.source[row] > 0).any():
                last = tick
                found.append(
                    _FrameSet(frame, labels.points_m[row], labels.source[row], labels.spread_m[row], labels.seen[row])
                )
    if not found:
        raise InputError(f"{project.folder}: no frame set has a label; nothing to release")
    return found


def _nearest(camera: RigCamera, frame_sets: Sequence[_FrameSet]) -> float:
    """Depth of the labelled joint that is nearest to a camera, metres."""
    depths = [camera.camera.from_world(one.points_m)[..., 2] for one in frame_sets]
    ahead = np.concatenate([depth[depth > 0] for depth in depths])
    return float(ahead.min()) if len(ahead) else 1.0


def _small(camera: RigCamera, size: tuple[int, int]) -> RigCamera:
    """The camera of the released images: smaller, without its lens."""
    ratio = np.array([[size[0] / camera.width], [size[1] / camera.height], [1.0]])
    return RigCamera(camera.name, *size, replace(camera.camera, K=camera.camera.K * ratio, distortion=None))


def _write_frame_set(
    root: Path,
    project: Project,
    small: CameraRig,
    number: int,
    capture: Capture,
    files: SplitFiles,
    frame_set: _FrameSet,
) -> list[FacesFound]:
    """Images and labels of one frame set; gives the faces in each view that could be read."""
    performed = capture.sequence_of(frame_set.frame)
    note = root / _WORK / f"{number}-{frame_set.frame}.json"
    new = not note.is_file()
    kept: dict[str, list[int]] = {} if new else json.loads(note.read_text("utf-8"))
    found = {name: FacesFound(*one) for name, one in kept.items()}
    pixels = small.project(frame_set.points_m)
    files.add_frame_set(str(number), frame_set.frame, frame_set.points_m, frame_set.source)
    order = {name: row for row, name in enumerate(project.rig.names)}
    for view, camera in enumerate(small):
        if frame_set.frame not in project.view(camera.name).numbers or not np.isfinite(pixels[view]).any():
            continue
        below = f"Capture{number}/{performed.name}/cam{camera.name}/image{frame_set.frame}.jpg"
        if new:
            try:
                rgb = project.view(camera.name).read(frame_set.frame)
            except InputError:
                continue  # the automatic annotator reported it: an image that cannot be read is not released
            size = camera.width, camera.height
            image, found[camera.name] = released_image(rgb, project.rig[camera.name], size, frame_set.points_m)
            if not found[camera.name].withheld:
                write_bytes(root / "images" / files.split / below, jpeg_bytes(image), of_run=True)
        if camera.name not in found or found[camera.name].withheld:
            continue
        seen = frame_set.seen[order[camera.name]] if len(frame_set.seen) == len(order) else np.zeros((2, 21), np.bool_)
        about: ImageRecord = {
            "width": camera.width, "height": camera.height, "capture": number, "subject": capture.subject,
            "seq_name": performed.name, "seq_type": performed.kind, "camera": camera.name, "frame_idx": frame_set.frame,
        }  # fmt: skip
        files.add_image(below, about, pixels[view], frame_set.source, seen)
    if new:
        write_text(note, json.dumps(found), of_run=True)
    return list(found.values())


def _finish(draft: Path, out: Path) -> None:
    """Remove what only resuming needs, list all files, give the folder its name."""
    for note in (draft / _WORK).iterdir():
        note.unlink()
    (draft / _WORK).rmdir()
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(draft).as_posix()}\n"
        for file in _files(draft)
    ]
    write_text(draft / _SUMS, "".join(lines), of_run=True)
    with failing_as_job(out):
        draft.rename(out)


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != _SUMS)
