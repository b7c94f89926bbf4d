"""Releases: a data set from annotated projects, its images without fingerprint ridges and faces.

A release is written beside its final name and renamed when it is complete; a run that was stopped resumes with the
frame sets that are missing. Its annotations are gathered as it is written: InterHand2.6M's files, COCO, sources of
joints, statistics.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, TypedDict

import numpy as np

from sonjit.arrays import BoolArray, FloatArray, IntArray
from sonjit.datasets.hands.interhand import ORDER, annotation_record, cameras_record, joints_record, skeleton_lines
from sonjit.errors import InputError
from sonjit.files import failing_as_job, write_bytes, write_text
from sonjit.hand_models.rig import Side
from sonjit.media.annotated.writers import encode_image
from sonjit.multiview.annotation.project import Project
from sonjit.multiview.automatic.annotator import read_labels
from sonjit.multiview.automatic.labels import SOURCES
from sonjit.multiview.automatic.learning import CocoHand, coco_annotation, coco_category
from sonjit.multiview.cameras.rig import CameraRig, RigCamera
from sonjit.multiview.release.data_card import SPLITS, Capture, DataCard, page, split_people
from sonjit.multiview.release.privacy import (
    FacesFound,
    ReleasedImage,
    Sampling,
    released_image,
    sampling_of,
    without_hidden_faces,
)
from sonjit.multiview.surfaces.fitting import HandSurface, fit_surfaces, save_surfaces
from sonjit.multiview.triangulation.people import HANDS, PeopleInSpace


class ImageRecord(TypedDict):
    """An image in InterHand2.6M's JSON, `id` and `file_name` apart."""

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
    """The records of one split, gathered while its frame sets are written."""

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
        """The cameras of a capture, as they see the released images."""
        self.cameras[capture] = cameras_record({one.name: (one.camera.K, one.R, one.t) for one in rig})

    def add_frame_set(self, capture: str, frame: int, points_m: FloatArray, source: IntArray) -> None:
        """The joints (2, 21, 3) of one frame set, and by whom (2, 21) they are."""
        own = [""] * 42
        for place, code in zip(ORDER.tolist(), source.reshape(42).tolist(), strict=True):
            own[place] = SOURCES[code]
        self.joints.setdefault(capture, {})[str(frame)] = joints_record(points_m)
        self.sources.setdefault(capture, {})[str(frame)] = own

    def add_surfaces(self, root: Path, capture: str, found: Sequence[HandSurface]) -> None:
        """The surfaces of a capture: their vertices and parameters in a file, MANO's also as NeuralAnnot has them."""
        save_surfaces(root / "annotations" / self.split / f"surfaces_{self.split}_Capture{capture}.npz", found)
        for one in found:
            if "trans" in one.parameters:
                frames = self.mano.setdefault(capture, {})
                for row, frame in enumerate(one.frames.tolist()):
                    frames.setdefault(str(frame), {})[one.side.lower()] = {
                        "pose": one.parameters["pose"][row].tolist(),
                        "shape": one.parameters["shape"].tolist(),
                        "trans": one.parameters["trans"][row].tolist(),
                    }

    def add_image(self, name: str, about: ImageRecord, pixels: FloatArray, source: IntArray, seen: BoolArray) -> None:
        """One view: joints (2, 21, 2) in its pixels, by whom (2, 21), and which (2, 21) are seen."""
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
                shown = np.where(seen[side], 2, 1)
                one = coco_annotation(len(self.coco) + 1, number, points, category=1 + side, flags=shown)
                own = sorted({SOURCES[code] for code in source[side][inside].tolist()})
                self.coco.append(_HandRecord(**one, hand_side=("right", "left")[side], source="/".join(own)))

    def write(self, root: Path) -> None:
        """All files of the split."""
        folder = root / "annotations" / self.split
        stem = f"InterHand2.6M_{self.split}"
        _write(folder / f"{stem}_data.json", {"images": self.images, "annotations": self.annotations})
        _write(folder / f"{stem}_camera.json", self.cameras)
        _write(folder / f"{stem}_joint_3d.json", self.joints)
        _write(folder / f"sources_{self.split}.json", self.sources)
        if self.mano:
            _write(folder / f"{stem}_MANO_NeuralAnnot.json", self.mano)
        categories = [coco_category(1, "right_hand"), coco_category(2, "left_hand")]
        prefix = f"images/{self.split}/"
        images = [one | {"file_name": prefix + one["file_name"]} for one in self.images]
        _write(
            folder / f"coco_{self.split}.json", {"images": images, "annotations": self.coco, "categories": categories}
        )
        for whom, numbers in self.by.items():
            path = folder / f"aid_{whom}_annot_{self.split}.txt"
            write_text(path, "".join(f"{k}\n" for k in numbers))


def _write(path: Path, record: Mapping[str, object]) -> None:
    write_text(path, json.dumps(record) + "\n")


@dataclass
class Statistics:
    """Counts so far."""

    frame_sets: int = 0
    images: Counter[str] = field(default_factory=Counter[str])
    people: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    hands: Counter[str] = field(default_factory=Counter[str])
    joints: Counter[str] = field(default_factory=Counter[str])
    sequences: dict[str, set[tuple[str, str]]] = field(default_factory=dict[str, set[tuple[str, str]]])
    spread_m: float = 0.0

    def add(
        self, split: str, capture: Capture, frame: int, source: IntArray, spread_m: FloatArray, images: int
    ) -> None:
        """One frame set: by whom (2, 21) its joints are, their uncertainty (2, 21), and in how many images."""
        labelled = source > 0
        right, left = bool(labelled[0].any()), bool(labelled[1].any())
        performed = capture.sequence_of(frame)
        self.frame_sets += 1
        self.images[split] += images
        self.people.setdefault(split, set()).add(capture.subject)
        self.hands["interacting" if right and left else "right" if right else "left"] += 1
        self.joints.update(SOURCES[code] for code in source[labelled].tolist())
        self.sequences.setdefault(performed.kind, set()).add((capture.subject, performed.name))
        self.spread_m += float(np.nansum(spread_m[labelled]))

    def counts(self) -> ReleaseCounts:
        """All counts as plain numbers."""
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
            "mean_spread_mm": round(1000 * self.spread_m / max(joints, 1), 3),
            "splits": {split: sorted(names) for split, names in self.people.items()},
        }


SurfaceModel = Literal["rig", "mano"]

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
    points_m: FloatArray
    source: IntArray
    spread_m: FloatArray
    seen: BoolArray  # (C, 2, 21) of the labelled views


def release(
    projects: Sequence[Project],
    card: DataCard,
    out: Path,
    *,
    fps: float = 30.0,
    surfaces: SurfaceModel | None = None,
    mano: Mapping[Side, Path] | None = None,
    expect: Callable[[int | None], None] = lambda _: None,
    advance: Callable[[], None] = lambda: None,
) -> ReleaseResult:
    """Write a release, or resume one.

    Args:
        projects: annotated; the card's captures are named like their folders.
        card: licence, consent, people, performances.
        out: folder that must not be there yet.
        fps: frames per second of the recordings; five per second are released.
        surfaces: of hands that are released too, in the frame sets in which all joints of a hand are labelled.
        mano: MANO's files by side, for MANO's surfaces.
        expect: called with the number of steps.
        advance: called after each.

    Raises:
        InputError: the folder exists, a project has no labels, or the card has no person for it or one in two splits;
            surfaces are asked for that cannot be fitted.
    """
    if out.exists():
        raise InputError(f"{out} exists already: name a new folder")
    if not fps > 0:
        raise InputError(f"--fps {fps:g}: give frames per second, above 0")
    captures = [_capture(card, project) for project in projects]
    splits = split_people(captures)
    draft = out.with_name(f".{out.name}.part")
    _begin(draft, projects, card, fps, surfaces)
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
        if surfaces is not None:
            own.add_surfaces(draft, str(number), _surfaces(frame_sets, fps, mano))
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
    write_text(draft / "annotations" / "skeleton.txt", skeleton_lines())
    for one in files.values():
        one.write(draft)
    counts = counted.counts()
    write_text(draft / "statistics.json", json.dumps(counts, indent=1) + "\n")
    write_text(draft / "README.md", page(card, counts, views, faces))
    _finish(draft, out)
    return ReleaseResult(sum(len(one.images) for one in files.values()), counted.frame_sets, faces, views)


def _capture(card: DataCard, project: Project) -> Capture:
    name = project.folder.resolve().name
    if name not in card.captures:
        raise InputError(f"the card has no capture {name}: add [captures.{name}] with subject")
    return card.captures[name]


def _begin(draft: Path, projects: Sequence[Project], card: DataCard, fps: float, surfaces: SurfaceModel | None) -> None:
    """Make the draft's folder, or check that it belongs to the same release."""
    chosen = {
        name: [str(value) for value in (one.subject, one.split, one.sequences)] for name, one in card.captures.items()
    }
    labels = [_digest(project) for project in projects]
    text = json.dumps(
        {
            "projects": [str(one.folder.resolve()) for one in projects], "fps": fps, "captures": chosen,
            "labels": labels, "surfaces": surfaces,
        }
    )  # fmt: skip
    kept = draft / _WORK / "settings.json"
    if kept.is_file() and kept.read_text("utf-8") != text:
        raise InputError(f"{draft} is an unfinished release with other settings or labels: delete it")
    write_text(kept, text)


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


def _surfaces(frame_sets: Sequence[_FrameSet], fps: float, mano: Mapping[Side, Path] | None) -> list[HandSurface]:
    """Of the hands of one person."""
    frames = np.array([one.frame for one in frame_sets])
    points = np.stack([one.points_m.reshape(1, -1, 3) for one in frame_sets])
    return fit_surfaces(PeopleInSpace(HANDS, (1,), frames, frames / fps, points), mano)


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
    pixels = small.project(frame_set.points_m)
    files.add_frame_set(str(number), frame_set.frame, frame_set.points_m, frame_set.source)
    order = {name: row for row, name in enumerate(project.rig.names)}
    images = _images(project, small, frame_set, pixels) if new else {}
    found = {name: one.faces for name, one in images.items()} | {name: FacesFound(*one) for name, one in kept.items()}
    for view, camera in enumerate(small):
        if camera.name not in found or found[camera.name].withheld:
            continue
        below = f"Capture{number}/{performed.name}/cam{camera.name}/image{frame_set.frame}.jpg"
        if new:
            write_bytes(root / "images" / files.split / below, encode_image(images[camera.name].rgb, ".jpg"))
        seen = frame_set.seen[order[camera.name]] if len(frame_set.seen) == len(order) else np.zeros((2, 21), np.bool_)
        about: ImageRecord = {
            "width": camera.width, "height": camera.height, "capture": number, "subject": capture.subject,
            "seq_name": performed.name, "seq_type": performed.kind, "camera": camera.name, "frame_idx": frame_set.frame,
        }  # fmt: skip
        files.add_image(below, about, pixels[view], frame_set.source, seen)
    if new:
        write_text(note, json.dumps(found))
    return list(found.values())


def _images(project: Project, small: CameraRig, frame_set: _FrameSet, pixels: FloatArray) -> dict[str, ReleasedImage]:
    """The images of a frame set with a labelled joint (C, 2, 21, 2), as they are released; none that cannot be read."""
    shown: dict[str, ReleasedImage] = {}
    for camera, places in zip(small, pixels, strict=True):
        if frame_set.frame not in project.view(camera.name).numbers or not np.isfinite(places).any():
            continue
        try:
            rgb = project.view(camera.name).read(frame_set.frame)
        except InputError:
            continue  # the automatic annotator reported it
        size = camera.width, camera.height
        shown[camera.name] = released_image(rgb, project.rig[camera.name], size, frame_set.points_m)
    whole = without_hidden_faces(small.subset(shown), list(shown.values()), frame_set.points_m)
    return dict(zip(shown, whole, strict=True))


def _finish(draft: Path, out: Path) -> None:
    """Remove what only resuming needs, list all files, give the folder its name."""
    for note in (draft / _WORK).iterdir():
        note.unlink()
    (draft / _WORK).rmdir()
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(draft).as_posix()}\n"
        for file in _files(draft)
    ]
    write_text(draft / _SUMS, "".join(lines))
    with failing_as_job(out):
        draft.rename(out)


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != _SUMS)
