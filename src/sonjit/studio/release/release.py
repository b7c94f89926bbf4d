"""Release annotated projects as a data set, without fingerprint ridges and faces.

A release is written to a draft folder and renamed when it is complete. An interrupted run resumes with the missing
frame sets. Annotations are collected meanwhile: InterHand2.6M's files, COCO, sources of joints, and statistics.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np

from sonjit._util.arrays import BoolArray, FloatArray, IntArray
from sonjit._util.data_files import read_json, write_json
from sonjit._util.errors import InputError
from sonjit._util.files import failing_as_job, has_settings, sole_writer, write_bytes, write_text
from sonjit._util.json_text import json_from
from sonjit._util.pools import Progress
from sonjit.lab.datasets.interhand import skeleton_lines
from sonjit.lab.hand_models.rig import Side
from sonjit.media.sources.images import encode_image
from sonjit.studio.annotation.project import Project
from sonjit.studio.automatic.run_folder import read_labels
from sonjit.studio.cameras.rig import CameraRig, RigCamera
from sonjit.studio.release.data_card import (
    SPLITS,
    Capture,
    DataCard,
    SplitFiles,
    Statistics,
    card_markdown,
    split_people,
)
from sonjit.studio.release.privacy import (
    FacesFound,
    ReleasedImage,
    Sampling,
    hide_faces_of_other_views,
    released_image,
    sampling_of,
)
from sonjit.studio.triangulation.people import HANDS, PeopleInSpace
from sonjit.studio.triangulation.surfaces import HandSurface, fit_surfaces

SurfaceModel = Literal["rig", "mano"]
FPS: Final = 5.0
_WORK_FOLDER: Final = "work"
_SETTINGS: Final = f"{_WORK_FOLDER}/settings.json"
_CHECKSUMS: Final = "SHA256SUMS"


@dataclass(frozen=True)
class ReleaseResult:
    """A complete release."""

    images: int
    frame_sets: int
    faces: FacesFound
    views: Mapping[str, Sampling]


@dataclass(frozen=True)
class _FrameSet:
    """The labels of a frame set."""

    frame: int
    points_m: FloatArray
    source: IntArray
    std_m: FloatArray
    seen: BoolArray  # (C, 2, 21) of the labelled views


def release(
    projects: Sequence[Project],
    card: DataCard,
    out: Path,
    *,
    fps: float = 30.0,
    surfaces: SurfaceModel | None = None,
    mano: Mapping[Side, Path] | None = None,
    progress: Progress = Progress(),
) -> ReleaseResult:
    """Write a release, or resume one.

    Args:
        fps: Frames per second of the recordings. Five per second are released.
        surfaces: Model of the released hand surfaces, for frame sets in which all joints of a hand are labelled.
        mano: MANO's files by side, for MANO's surfaces.
    """
    if out.exists():
        raise InputError(f"{out} already exists: choose another folder")
    if not fps > 0:
        raise InputError(f"--fps must be above 0, not {fps:g}")
    names = [project.folder.resolve().name for project in projects]
    if missing := [name for name in names if name not in card.captures]:
        raise InputError(f"the card has no capture {missing[0]}: add [captures.{missing[0]}] with subject")
    captures = [card.captures[name] for name in names]
    splits = split_people(captures)
    draft = out.with_name(f".{out.name}.part")
    settings = _check_settings(draft, projects, card, fps, surfaces)
    selected = [_select_frame_sets(project, fps) for project in projects]
    fitted = [[] if surfaces is None else _fit_surfaces(frame_sets, fps, mano) for frame_sets in selected]
    with sole_writer(draft):  # last: a refused release leaves no folder
        write_text(draft / _SETTINGS, settings)
        progress.start(sum(len(frame_sets) for frame_sets in selected))
        files = {split: SplitFiles(split) for split in SPLITS if split in splits.values()}
        views: dict[str, Sampling] = {}
        statistics, faces = Statistics(), FacesFound()
        for number, (project, capture, frame_sets, hands) in enumerate(
            zip(projects, captures, selected, fitted, strict=True)
        ):
            rig = project.rig
            samplings = {camera.name: sampling_of(camera, _nearest_depth(camera, frame_sets)) for camera in rig}
            views |= {f"{project.folder.name}/{name}": item for name, item in samplings.items()}
            small = CameraRig(_released_camera(camera, samplings[camera.name].size) for camera in rig)
            split_files = files[splits[capture.subject]]
            split_files.add_cameras(str(number), small)
            if surfaces is not None:
                split_files.add_surfaces(draft, str(number), hands)
            for frame_set in frame_sets:
                faces_found = _write_frame_set(
                    draft, project, small=small, number=number, capture=capture, files=split_files, frame_set=frame_set
                )
                statistics.add(
                    split_files.split,
                    capture,
                    frame=frame_set.frame,
                    source=frame_set.source,
                    std_m=frame_set.std_m,
                    images=sum(not item.withheld for item in faces_found),
                )
                faces = FacesFound(*(sum(counts_by_image) for counts_by_image in zip(faces, *faces_found, strict=True)))
                progress.advance()
        write_text(draft / "annotations" / "skeleton.txt", skeleton_lines())
        for item in files.values():
            item.write(draft)
        counts = statistics.counts()
        write_json(draft / "statistics.json", counts, indent=1)
        write_text(draft / "README.md", card_markdown(card, counts, views, faces))
        _publish(draft, out)
        return ReleaseResult(sum(len(item.images) for item in files.values()), statistics.frame_sets, faces, views)


def _check_settings(
    draft: Path, projects: Sequence[Project], card: DataCard, fps: float, surfaces: SurfaceModel | None
) -> str:
    """Return the settings of a release as JSON. Check that a draft, if there is one, has the same."""
    digests = [hashlib.sha256() for _ in projects]
    for project, digest in zip(projects, digests, strict=True):
        for labels in read_labels(project):
            digest.update(labels.points_m.tobytes())
    record = {
        "projects": [str(project.folder.resolve()) for project in projects],
        "fps": fps,
        "captures": {
            name: [str(value) for value in (capture.subject, capture.split, capture.sequences)]
            for name, capture in card.captures.items()
        },
        "labels": [digest.hexdigest() for digest in digests],
        "surfaces": surfaces,
    }
    text = json_from(record, spaced=True)
    has_settings(draft, _SETTINGS, text)
    return text


def _select_frame_sets(project: Project, fps: float) -> list[_FrameSet]:
    """Return the labelled frame sets to release: the first in each fifth of a second."""
    frame_sets: list[_FrameSet] = []
    last = -1
    for labels in read_labels(project):
        for row, frame in enumerate(labels.frames.tolist()):
            tick = int(frame * FPS / fps + 1e-6)
            if tick != last and (labels.source[row] > 0).any():
                last = tick
                frame_sets.append(
                    _FrameSet(frame, labels.points_m[row], labels.source[row], labels.std_m[row], labels.seen[row])
                )
    if not frame_sets:
        raise InputError(f"{project.folder}: no frame set has a label")
    return frame_sets


def _fit_surfaces(frame_sets: Sequence[_FrameSet], fps: float, mano: Mapping[Side, Path] | None) -> list[HandSurface]:
    frames = np.array([frame_set.frame for frame_set in frame_sets])
    points = np.stack([frame_set.points_m.reshape(1, -1, 3) for frame_set in frame_sets])
    return fit_surfaces(PeopleInSpace(HANDS, (1,), frames, frames / fps, points), mano)


def _nearest_depth(camera: RigCamera, frame_sets: Sequence[_FrameSet]) -> float:
    """Return the depth of the labelled joint nearest to a camera, metres."""
    depths = [camera.camera.from_world(frame_set.points_m)[..., 2] for frame_set in frame_sets]
    ahead = np.concatenate([depth[depth > 0] for depth in depths])
    return float(ahead.min()) if len(ahead) else 1.0


def _released_camera(camera: RigCamera, size: tuple[int, int]) -> RigCamera:
    """Return the camera of the released images: smaller and without distortion."""
    ratio = np.array([[size[0] / camera.width], [size[1] / camera.height], [1.0]])
    return RigCamera(camera.name, *size, replace(camera.camera, K=camera.camera.K * ratio, distortion=None))


def _write_frame_set(
    root: Path,
    project: Project,
    *,
    small: CameraRig,
    number: int,
    capture: Capture,
    files: SplitFiles,
    frame_set: _FrameSet,
) -> list[FacesFound]:
    """Write images and labels of one frame set, and return the faces in each readable view."""
    sequence, frame = capture.sequence_of(frame_set.frame), frame_set.frame
    note = root / _WORK_FOLDER / f"{number}-{frame}.json"
    pixels = small.project(frame_set.points_m)
    files.add_frame_set(str(number), frame, frame_set.points_m, frame_set.source)
    images: dict[str, ReleasedImage] = {}
    if note.is_file():
        found = {name: FacesFound(*values) for name, values in read_json(note).items()}
    else:
        images = _released_images(project, small, frame_set, pixels)
        found = {name: image.faces for name, image in images.items()}
    for view, camera in enumerate(small):
        if camera.name not in found or found[camera.name].withheld:
            continue
        path = f"Capture{number}/{sequence.name}/cam{camera.name}/image{frame}.jpg"
        if camera.name in images:
            write_bytes(root / "images" / files.split / path, encode_image(images[camera.name].rgb, ".jpg"))
        is_complete = len(frame_set.seen) == len(small)
        visible = frame_set.seen[view] if is_complete else np.zeros((2, 21), np.bool_)
        record = {
            "width": camera.width, "height": camera.height, "capture": number, "subject": capture.subject,
            "seq_name": sequence.name, "seq_type": sequence.kind, "camera": camera.name, "frame_idx": frame,
        }  # fmt: skip
        files.add_image(path, record, pixels[view], frame_set.source, visible)
    if images or not note.is_file():
        write_text(note, json_from(found, spaced=True))
    return list(found.values())


def _released_images(
    project: Project, small: CameraRig, frame_set: _FrameSet, pixels: FloatArray
) -> dict[str, ReleasedImage]:
    """Return the released images of a frame set with a labelled joint (C, 2, 21, 2). Unreadable ones are skipped."""
    shown: dict[str, ReleasedImage] = {}
    for camera, joints in zip(small, pixels, strict=True):
        if frame_set.frame not in project.view(camera.name).numbers or not np.isfinite(joints).any():
            continue
        try:
            rgb = project.view(camera.name).read(frame_set.frame)
        except InputError:
            continue  # the automatic annotator reported it
        size = camera.width, camera.height
        shown[camera.name] = released_image(rgb, project.rig[camera.name], size, frame_set.points_m)
    hidden = hide_faces_of_other_views(small.subset(shown), list(shown.values()), frame_set.points_m)
    return dict(zip(shown, hidden, strict=True))


def _publish(draft: Path, out: Path) -> None:
    """Remove files for resuming, write checksums, and rename the folder."""
    for note in (draft / _WORK_FOLDER).iterdir():
        note.unlink()
    (draft / _WORK_FOLDER).rmdir()
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(draft).as_posix()}\n"
        for file in sorted(draft.rglob("*"))
        if file.is_file() and file.name != _CHECKSUMS
    ]
    write_text(draft / _CHECKSUMS, "".join(lines))
    with failing_as_job(out):
        draft.rename(out)
