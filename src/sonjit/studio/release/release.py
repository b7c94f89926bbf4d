"""Release annotated projects as a data set, without fingerprint ridges and faces.

A release is written to a draft folder and renamed when it is complete. An interrupted run resumes with the missing
frame sets. Annotations are collected meanwhile: InterHand2.6M's files, COCO, sources of joints, and statistics.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, TypedDict

import numpy as np

from sonjit._util.arrays import BoolArray, FloatArray, IntArray
from sonjit._util.data_files import read_json, write_json
from sonjit._util.errors import InputError
from sonjit._util.files import failing_as_job, sole_writer, write_bytes, write_text
from sonjit._util.json_text import json_from
from sonjit._util.progress import Progress
from sonjit._util.work_folder import has_settings
from sonjit.lab.datasets.hands.interhand import ORDER
from sonjit.lab.datasets.hands.interhand_files import annotation_record, cameras_record, joints_record, skeleton_lines
from sonjit.lab.hand_models.rig import Side
from sonjit.media.encode import encode_image
from sonjit.studio.annotation.project import Project
from sonjit.studio.automatic.annotator import read_labels
from sonjit.studio.automatic.labels import SOURCES
from sonjit.studio.automatic.learning import CocoHand, coco_annotation, coco_category
from sonjit.studio.cameras.rig import CameraRig, RigCamera
from sonjit.studio.release.data_card import SPLITS, Capture, DataCard, card_markdown, split_people
from sonjit.studio.release.privacy import (
    FacesFound,
    ReleasedImage,
    Sampling,
    hide_faces_of_other_views,
    released_image,
    sampling_of,
)
from sonjit.studio.surfaces.fitting import HandSurface, fit_surfaces, save_surfaces
from sonjit.studio.triangulation.detections import HANDS
from sonjit.studio.triangulation.people import PeopleInSpace

SurfaceModel = Literal["rig", "mano"]
FPS: Final = 5.0
_WORK_FOLDER: Final = "work"
_SETTINGS: Final = f"{_WORK_FOLDER}/settings.json"
_CHECKSUMS: Final = "SHA256SUMS"


class ImageRecord(TypedDict):
    """An image in InterHand2.6M's JSON, without `id` and `file_name`."""

    width: int
    height: int
    capture: int
    subject: str
    seq_name: str
    seq_type: str
    camera: str
    frame_idx: int


class _NamedImageRecord(ImageRecord):
    id: int
    file_name: str


class _HandRecord(CocoHand):
    hand_side: str
    source: str


class ReleaseCounts(TypedDict):
    """`statistics.json` of a release."""

    people: int
    frame_sets: int
    images: int
    images_by_split: dict[str, int]
    people_by_split: dict[str, int]
    frame_sets_by_hands: dict[str, int]
    joints: int
    joints_by_source: dict[str, int]
    sequences_by_type: dict[str, int]
    mean_spread_mm: float
    splits: dict[str, list[str]]


@dataclass
class SplitFiles:
    """The records of one split, collected while its frame sets are written."""

    split: str
    images: list[_NamedImageRecord] = field(default_factory=list["_NamedImageRecord"])
    annotations: list[Mapping[str, object]] = field(default_factory=list[Mapping[str, object]])
    coco: list[_HandRecord] = field(default_factory=list["_HandRecord"])
    cameras: dict[str, object] = field(default_factory=dict[str, object])
    joints: dict[str, dict[str, object]] = field(default_factory=dict[str, dict[str, object]])
    sources: dict[str, dict[str, list[str]]] = field(default_factory=dict[str, dict[str, list[str]]])
    mano: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict[str, dict[str, dict[str, object]]])
    by: dict[str, list[int]] = field(default_factory=lambda: {"human": [], "machine": []})

    def add_cameras(self, capture: str, rig: CameraRig) -> None:
        """Add the cameras of a capture, as of the released images."""
        self.cameras[capture] = cameras_record({camera.name: (camera.camera.K, camera.R, camera.t) for camera in rig})

    def add_frame_set(self, capture: str, frame: int, points_m: FloatArray, source: IntArray) -> None:
        """Add the joints (2, 21, 3) of one frame set and their sources (2, 21)."""
        sources = [""] * 42
        for index, code in zip(ORDER.tolist(), source.reshape(42).tolist(), strict=True):
            sources[index] = SOURCES[code]
        self.joints.setdefault(capture, {})[str(frame)] = joints_record(points_m)
        self.sources.setdefault(capture, {})[str(frame)] = sources

    def add_surfaces(self, root: Path, capture: str, surfaces: Sequence[HandSurface]) -> None:
        """Write the surfaces of a capture to a file, and add MANO's parameters in NeuralAnnot's form."""
        save_surfaces(root / "annotations" / self.split / f"surfaces_{self.split}_Capture{capture}.npz", surfaces)
        for surface in surfaces:
            if "trans" in surface.parameters:
                frames = self.mano.setdefault(capture, {})
                for row, frame in enumerate(surface.frames.tolist()):
                    frames.setdefault(str(frame), {})[surface.side.lower()] = {
                        "pose": surface.parameters["pose"][row].tolist(),
                        "shape": surface.parameters["shape"].tolist(),
                        "trans": surface.parameters["trans"][row].tolist(),
                    }

    def add_image(
        self, name: str, about: ImageRecord, pixels: FloatArray, source: IntArray, visible: BoolArray
    ) -> None:
        """Add one view: joints (2, 21, 2) in its pixels, their sources (2, 21) and visibility (2, 21)."""
        number = len(self.images) + 1
        valid = np.asarray(np.isfinite(pixels).all(-1), np.bool_)
        self.images.append(_NamedImageRecord(id=number, file_name=name, **about))
        self.annotations.append(annotation_record(number, pixels, valid))
        self.by["machine" if (source[valid] == 1).any() else "human"].append(number)
        width, height = about["width"], about["height"]
        for side in range(2):
            inside = valid[side] & ((pixels[side] >= 0) & (pixels[side] <= (width, height))).all(-1)
            if inside.sum() > 1:
                points = np.where(inside[:, None], pixels[side], np.nan)
                shown = np.where(visible[side], 2, 1)
                annotation = coco_annotation(len(self.coco) + 1, number, points, category=1 + side, flags=shown)
                own = sorted({SOURCES[code] for code in source[side][inside].tolist()})
                self.coco.append(_HandRecord(**annotation, hand_side=("right", "left")[side], source="/".join(own)))

    def write(self, root: Path) -> None:
        """Write all files of the split."""
        folder = root / "annotations" / self.split
        stem = f"InterHand2.6M_{self.split}"
        write_json(folder / f"{stem}_data.json", {"images": self.images, "annotations": self.annotations})
        write_json(folder / f"{stem}_camera.json", self.cameras)
        write_json(folder / f"{stem}_joint_3d.json", self.joints)
        write_json(folder / f"sources_{self.split}.json", self.sources)
        if self.mano:
            write_json(folder / f"{stem}_MANO_NeuralAnnot.json", self.mano)
        categories = [coco_category(1, "right_hand"), coco_category(2, "left_hand")]
        prefix = f"images/{self.split}/"
        images = [image | {"file_name": prefix + image["file_name"]} for image in self.images]
        write_json(
            folder / f"coco_{self.split}.json", {"images": images, "annotations": self.coco, "categories": categories}
        )
        for whom, numbers in self.by.items():
            path = folder / f"aid_{whom}_annot_{self.split}.txt"
            write_text(path, "".join(f"{k}\n" for k in numbers))


@dataclass
class Statistics:
    """Counts of the released data."""

    frame_sets: int = 0
    images: Counter[str] = field(default_factory=Counter[str])
    people: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    hands: Counter[str] = field(default_factory=Counter[str])
    joints: Counter[str] = field(default_factory=Counter[str])
    sequences: dict[str, set[tuple[str, str]]] = field(default_factory=dict[str, set[tuple[str, str]]])
    std_m: float = 0.0

    def add(
        self, split: str, capture: Capture, *, frame: int, source: IntArray, std_m: FloatArray, images: int
    ) -> None:
        """Count one frame set by the sources (2, 21) and standard errors (2, 21) of its joints."""
        labelled = source > 0
        right, left = bool(labelled[0].any()), bool(labelled[1].any())
        performed = capture.sequence_of(frame)
        self.frame_sets += 1
        self.images[split] += images
        self.people.setdefault(split, set()).add(capture.subject)
        self.hands["interacting" if right and left else "right" if right else "left"] += 1
        self.joints.update(SOURCES[code] for code in source[labelled].tolist())
        self.sequences.setdefault(performed.kind, set()).add((capture.subject, performed.name))
        self.std_m += float(np.nansum(std_m[labelled]))

    def counts(self) -> ReleaseCounts:
        """Return all counts as plain numbers."""
        joints = sum(self.joints.values())
        return {
            "people": sum(len(names) for names in self.people.values()),
            "frame_sets": self.frame_sets,
            "images": sum(self.images.values()),
            "images_by_split": dict(self.images),
            "people_by_split": {split: len(names) for split, names in self.people.items()},
            "frame_sets_by_hands": dict(self.hands),
            "joints": joints,
            "joints_by_source": dict(self.joints),
            "sequences_by_type": {kind or "other": len(names) for kind, names in self.sequences.items()},
            "mean_spread_mm": round(1000 * self.std_m / max(joints, 1), 3),
            "splits": {split: sorted(names) for split, names in self.people.items()},
        }


@dataclass(frozen=True)
class ReleaseResult:
    """A complete release.

    Attributes:
        images: Number of images in all splits.
        frame_sets: Number of frame sets in all splits.
        faces: Faces found in all images, including withheld ones.
        views: Resolution of skin by capture and view.
    """

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
        projects: Annotated projects. The card's captures are named like their folders.
        card: Licence, consent, people and performances.
        out: Folder to create.
        fps: Frames per second of the recordings. Five per second are released.
        surfaces: Model of the released hand surfaces, for frame sets in which all joints of a hand are labelled.
        mano: MANO's files by side, for MANO's surfaces.
        progress: Receiver of the progress in frame sets.

    Raises:
        InputError: The folder exists, a project has no labels, the card lacks its person or has it in two splits, or
            surfaces cannot be fitted.
    """
    if out.exists():
        raise InputError(f"{out} already exists: choose another folder")
    if not fps > 0:
        raise InputError(f"--fps must be above 0, not {fps:g}")
    captures = [_capture_of(card, project) for project in projects]
    splits = split_people(captures)
    draft = out.with_name(f".{out.name}.part")
    settings = _checked_settings(draft, projects, card, fps, surfaces)
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


def _capture_of(card: DataCard, project: Project) -> Capture:
    """Return the card's capture of a project."""
    name = project.folder.resolve().name
    if name not in card.captures:
        raise InputError(f"the card has no capture {name}: add [captures.{name}] with subject")
    return card.captures[name]


def _checked_settings(
    draft: Path, projects: Sequence[Project], card: DataCard, fps: float, surfaces: SurfaceModel | None
) -> str:
    """Return the settings of a release as JSON. Check that a draft, if there is one, has the same."""
    chosen = {
        name: [str(value) for value in (capture.subject, capture.split, capture.sequences)]
        for name, capture in card.captures.items()
    }
    labels = [_labels_digest(project) for project in projects]
    text = json_from({
            "projects": [str(project.folder.resolve()) for project in projects], "fps": fps, "captures": chosen,
            "labels": labels, "surfaces": surfaces,
        }, spaced=True)  # fmt: skip
    has_settings(draft, _SETTINGS, text)
    return text


def _labels_digest(project: Project) -> str:
    """Return a hash of a project's labels."""
    digest = hashlib.sha256()
    for labels in read_labels(project):
        digest.update(labels.points_m.tobytes())
    return digest.hexdigest()


def _select_frame_sets(project: Project, fps: float) -> list[_FrameSet]:
    """Return the labelled frame sets to release: the first in each fifth of a second.

    Raises:
        InputError: No frame set has a label.
    """
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
    """Fit the surfaces of one person's hands."""
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
    sequence = capture.sequence_of(frame_set.frame)
    note = root / _WORK_FOLDER / f"{number}-{frame_set.frame}.json"
    new = not note.is_file()
    finished: dict[str, list[int]] = {} if new else read_json(note)
    pixels = small.project(frame_set.points_m)
    files.add_frame_set(str(number), frame_set.frame, frame_set.points_m, frame_set.source)
    order = {name: row for row, name in enumerate(project.rig.names)}
    images = _released_images(project, small, frame_set, pixels) if new else {}
    found = {name: values.faces for name, values in images.items()} | {
        name: FacesFound(*values) for name, values in finished.items()
    }
    for view, camera in enumerate(small):
        if camera.name not in found or found[camera.name].withheld:
            continue
        path = f"Capture{number}/{sequence.name}/cam{camera.name}/image{frame_set.frame}.jpg"
        if new:
            write_bytes(root / "images" / files.split / path, encode_image(images[camera.name].rgb, ".jpg"))
        visible = (
            frame_set.seen[order[camera.name]] if len(frame_set.seen) == len(order) else np.zeros((2, 21), np.bool_)
        )
        record: ImageRecord = {
            "width": camera.width, "height": camera.height, "capture": number, "subject": capture.subject,
            "seq_name": sequence.name, "seq_type": sequence.kind, "camera": camera.name, "frame_idx": frame_set.frame,
        }  # fmt: skip
        files.add_image(path, record, pixels[view], frame_set.source, visible)
    if new:
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
        for file in _release_files(draft)
    ]
    write_text(draft / _CHECKSUMS, "".join(lines))
    with failing_as_job(out):
        draft.rename(out)


def _release_files(folder: Path) -> Iterator[Path]:
    """Iterate over the files of a release."""
    return (file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != _CHECKSUMS)
