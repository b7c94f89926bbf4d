"""Release annotated projects as a data set, without fingerprint ridges and faces, and with a data card.

A release is written to a draft folder and renamed when complete; an interrupted run resumes. It contains
InterHand2.6M's files, COCO, sources of joints, and statistics.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from sonjit._util import BoolArray, FloatArray, InputError, IntArray, data_files, json_from, pools
from sonjit._util.files import failing_as_job, has_settings, sha256_of_file, sole_writer, write_bytes, write_text
from sonjit.media.sources.images import encode_image
from sonjit.report.documents import Heading, Table, Text, markdown_from
from sonjit_lab.datasets.interhand import ORDER, annotation_record, cameras_record, joints_record, skeleton_lines
from sonjit_lab.datasets.sample import CORNER_PIXEL
from sonjit_lab.hand_models.rig import Side
from sonjit_studio import labelling, learning, privacy, run_folder
from sonjit_studio.people import HANDS, PeopleInSpace
from sonjit_studio.project import Project
from sonjit_studio.rig import CameraRig, RigCamera
from sonjit_studio.surfaces import HandSurface, fit_surfaces, save_surfaces

SPLITS: Final = ("train", "val", "test")
_DEFAULT_FRACTIONS: Final = {"test": 0.2, "val": 0.1}  # fractions of the people, without splits on the card
_REQUIRED_FIELDS: Final = {
    "title": "the name of the data set",
    "licence": "under which it is released, such as CC-BY-4.0",
    "consent": "who agreed to what, how, and how they can take it back",
    "contact": "whom to write to",
}
_EXAMPLE: Final = 'title = "…", licence = "…", consent = "…", contact = "…", and [captures.NAME] with subject = "01"'
SurfaceModel = Literal["rig", "mano"]
FPS: Final = 5.0
_WORK_FOLDER: Final = "work"
_SETTINGS: Final = f"{_WORK_FOLDER}/settings.json"
_CHECKSUMS: Final = "SHA256SUMS"


@dataclass(frozen=True)
class CaptureSequence:
    """One performance of a capture; `kind` PP is a peak pose, ROM a range of motion."""

    name: str
    kind: Literal["PP", "ROM", ""]
    first: int
    last: int


@dataclass(frozen=True)
class Capture:
    """One project of a release."""

    subject: str
    split: str | None  # of the person, None for an automatic one
    sequences: tuple[CaptureSequence, ...]

    def sequence_of(self, frame: int) -> CaptureSequence:
        """Return the performance that contains a frame set, `all` if there is none."""
        containing = (sequence for sequence in self.sequences if sequence.first <= frame <= sequence.last)
        return next(containing, CaptureSequence("all", "", 0, 0))


@dataclass(frozen=True)
class DataCard:
    """The fields of the authors, see `_REQUIRED_FIELDS`, and the captures."""

    fields: Mapping[str, str]
    captures: Mapping[str, Capture]


def load_card(path: Path) -> DataCard:
    """Load a card from TOML."""
    if not path.is_file():
        raise InputError(f"--card {path}: no such file; a release requires a card with {_EXAMPLE}")
    record = data_files.read_toml_table(path)
    tables = record.pop("captures", {})
    fields = {name: str(value) for name, value in record.items() if not isinstance(value, dict)}
    for name, what in _REQUIRED_FIELDS.items():
        if not fields.get(name, "").strip():
            raise InputError(f"{path} lacks {name}: {what}; it is required")
    if not isinstance(tables, dict):
        raise InputError(f"{path}: captures must contain a table for each project, [captures.NAME]")
    captures: Mapping[str, object] = tables
    return DataCard(fields, {name: _capture(path, name, table) for name, table in captures.items()})


def _capture(path: Path, name: str, record: Any) -> Capture:  # noqa: ANN401  # TOML
    at = f"{path}: captures.{name}"
    if not isinstance(record, dict) or not str(record.get("subject", "")).strip():  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        raise InputError(f"{at} lacks subject: a number or word for the person, never a name")
    members: Mapping[str, Any] = record
    split = members.get("split")
    if split is not None and split not in SPLITS:
        raise InputError(f"{at}.split {split!r}. Choose from {', '.join(SPLITS)}")
    sequences = members.get("sequences", [])
    if not isinstance(sequences, list):
        raise InputError(f"{at}.sequences must be a list of tables with name, first and last")
    records: list[Any] = sequences
    return Capture(_file_name(str(members["subject"])), split, tuple(_sequence(at, sequence) for sequence in records))


def _sequence(at: str, record: Any) -> CaptureSequence:  # noqa: ANN401  # TOML
    try:
        name, first, last = _file_name(str(record["name"])), int(record["first"]), int(record["last"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(f"{at}: a sequence requires name, first and last") from None
    kind = record.get("type", "")
    if kind not in ("PP", "ROM", ""):
        raise InputError(f"{at}: unknown sequence type {kind!r}. Choose from PP, ROM, or omit it")
    return CaptureSequence(name, kind, first, last)


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)


def split_people(captures: Iterable[Capture]) -> dict[str, str]:
    """Return the one split of each person: the card's, or a fifth of the people for test and a tenth for val."""
    captures, splits = list(captures), dict[str, str]()
    for capture in captures:
        if capture.split is not None and splits.setdefault(capture.subject, capture.split) != capture.split:
            raise InputError(
                f"person {capture.subject} would be in {splits[capture.subject]} and {capture.split}: one split each"
            )
    others = {capture.subject for capture in captures} - splits.keys()
    unassigned = sorted(others, key=lambda name: hashlib.sha256(name.encode()).digest())
    people = len(unassigned) + len(splits)
    for split, fraction in _DEFAULT_FRACTIONS.items():
        for _ in range(round(fraction * people) - list(splits.values()).count(split)):
            if len(unassigned) > 1:
                splits[unassigned.pop()] = split
    return splits | dict.fromkeys(unassigned, "train")


def card_markdown(
    card: DataCard,
    statistics: Mapping[str, object],
    samplings: Mapping[str, privacy.Sampling],
    faces: privacy.FacesFound,
) -> str:
    """Write the data card as Markdown."""
    totals = [(name.replace("_", " "), _format_value(value)) for name, value in statistics.items() if name != "splits"]
    views: list[tuple[str, ...]] = []
    for name, sampling in samplings.items():
        size, contrast = "{} x {}".format(*sampling.size), f"{100 * sampling.ridge_contrast:.1f} %"
        views.append((name, size, f"{sampling.px_per_mm:.2f}", f"{sampling.ridge_px:.2f}", contrast))
    blocks = [
        Table(("", ""), tuple(card.fields.items()), text_columns=2),
        Heading("Contents"),
        Table(("", ""), tuple(totals), text_columns=2),
        Text(
            "Images and labels are stored as in InterHand2.6M (`images`, `annotations`), and also as COCO. No person "
            "is in two splits. Joints are the centres of rotation inside the fingers, and the ends of the fingers at "
            "the tips, in millimetres in the world of a capture. `annotations/*/sources_*.json` lists the source of "
            "each joint: H is a human, M a machine, H+M a machine whose result a human checked. `SHA256SUMS` lists "
            "every file."
        ),
        Heading("Privacy"),
        Text(
            "Ridges of fingers repeat about every 0.45 mm. They cannot be read below two pixels a period, or where a "
            "tenth of their contrast or less is left. At the joint nearest to each camera:"
        ),
        Table(("view", "size", "px/mm", "pixels a ridge", "contrast left of ridges"), tuple(views), text_columns=2),
        Text(
            f"Faces found and blurred, in an image or where another view shows one: {faces.blurred}. Images left out "
            f"because what may be a face lies over a labelled hand: {faces.withheld}. Labelled hands that were taken "
            "for a face, too small for one and none to a second network, and were left as they are: "
            f"{faces.hands}. What a detector finds in no view is not blurred: look at the images before you publish."
        ),
    ]
    return markdown_from(card.fields["title"], blocks)


def _format_value(value: object) -> str:
    if isinstance(value, Mapping):
        members: Mapping[object, object] = value  # pyright: ignore[reportUnknownVariableType]  # JSON
        return ", ".join(f"{name or 'none'} {count}" for name, count in members.items())
    return str(value)


@dataclass
class SplitFiles:
    """The records of one split, collected while its frame sets are written."""

    split: str
    images: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    annotations: list[Mapping[str, object]] = field(default_factory=list[Mapping[str, object]])
    coco: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    cameras: dict[str, object] = field(default_factory=dict[str, object])
    joints: dict[str, dict[str, object]] = field(default_factory=dict[str, dict[str, object]])
    sources: dict[str, dict[str, list[str]]] = field(default_factory=dict[str, dict[str, list[str]]])
    mano: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict[str, dict[str, dict[str, object]]])
    by: dict[str, list[int]] = field(default_factory=lambda: {"human": [], "machine": []})

    def add_cameras(self, capture: str, rig: CameraRig) -> None:
        """Add the cameras of a capture, as of the released images."""
        self.cameras[capture] = cameras_record({camera.name: (camera.camera.K, camera.R, camera.t) for camera in rig})

    def add_frame_set(self, capture: str, frame: int, points_m: FloatArray, source: IntArray) -> None:
        """Add the joints (2, 21, 3) of one frame set in metres and the codes of their sources (2, 21)."""
        sources = [""] * 42
        for index, code in zip(ORDER.tolist(), source.reshape(42).tolist(), strict=True):
            sources[index] = run_folder.SOURCES[code]
        self.joints.setdefault(capture, {})[str(frame)] = joints_record(points_m)
        self.sources.setdefault(capture, {})[str(frame)] = sources

    def add_surfaces(self, root: Path, capture: str, surfaces: Sequence[HandSurface]) -> None:
        """Write the surfaces of a capture to a file, and add MANO's parameters in NeuralAnnot's form."""
        save_surfaces(root / "annotations" / self.split / f"surfaces_{self.split}_Capture{capture}.npz", surfaces)
        for surface in surfaces:
            if "trans" in surface.parameters:
                pose, shape, trans = (surface.parameters[name] for name in ("pose", "shape", "trans"))
                frames = self.mano.setdefault(capture, {})
                for row, frame in enumerate(surface.frames.tolist()):
                    record = {"pose": pose[row].tolist(), "shape": shape.tolist(), "trans": trans[row].tolist()}
                    frames.setdefault(str(frame), {})[surface.side.lower()] = record

    def add_image(
        self, name: str, about: Mapping[str, Any], pixels: FloatArray, source: IntArray, visible: BoolArray
    ) -> None:
        """Add one view with pixels (2, 21, 2), sources (2, 21) and visibility (2, 21) of the joints."""
        number = len(self.images) + 1
        valid = np.asarray(np.isfinite(pixels).all(-1), np.bool_)
        self.images.append({"id": number, "file_name": name, **about})
        self.annotations.append(annotation_record(number, pixels, valid))
        self.by["machine" if (source[valid] == 1).any() else "human"].append(number)
        width, height = about["width"], about["height"]
        for side in range(2):
            inside = valid[side] & ((pixels[side] >= 0) & (pixels[side] <= (width, height))).all(-1)
            if inside.sum() > 1:
                points = np.where(inside[:, None], pixels[side], np.nan)
                shown = np.where(visible[side], 2, 1)
                annotation = learning.coco_annotation(
                    len(self.coco) + 1, number, points, category=1 + side, flags=shown
                )
                source_names = sorted({run_folder.SOURCES[code] for code in source[side][inside].tolist()})
                self.coco.append({**annotation, "hand_side": ("right", "left")[side], "source": "/".join(source_names)})

    def write(self, root: Path) -> None:
        """Write all files of the split."""
        folder, stem = root / "annotations" / self.split, f"InterHand2.6M_{self.split}"
        prefix = f"images/{self.split}/"
        images = [image | {"file_name": prefix + image["file_name"]} for image in self.images]
        categories = [learning.coco_category(1, "right_hand"), learning.coco_category(2, "left_hand")]
        records: dict[str, object] = {
            f"{stem}_data": {"images": self.images, "annotations": self.annotations},
            f"{stem}_camera": self.cameras,
            f"{stem}_joint_3d": self.joints,
            f"sources_{self.split}": self.sources,
            **({f"{stem}_MANO_NeuralAnnot": self.mano} if self.mano else {}),
            f"coco_{self.split}": {
                "info": {"pixel_centre": CORNER_PIXEL},
                "images": images,
                "annotations": self.coco,
                "categories": categories,
            },
        }
        for name, record in records.items():
            data_files.write_json(folder / f"{name}.json", record)
        for whom, numbers in self.by.items():
            write_text(folder / f"aid_{whom}_annot_{self.split}.txt", "".join(f"{number}\n" for number in numbers))


@dataclass(frozen=True)
class _FrameSet:
    """The labels of a frame set."""

    frame: int
    points_m: FloatArray
    source: IntArray
    std_m: FloatArray
    seen: BoolArray  # (C, 2, 21) of the labelled views


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

    def add(self, split: str, capture: Capture, frame_set: _FrameSet, images: int) -> None:
        """Count one frame set and its images."""
        source = frame_set.source
        labelled = source > 0
        right, left = bool(labelled[0].any()), bool(labelled[1].any())
        performed = capture.sequence_of(frame_set.frame)
        self.frame_sets += 1
        self.images[split] += images
        self.people.setdefault(split, set()).add(capture.subject)
        single = "right" if right else "left"
        self.hands["interacting" if right and left else single] += 1
        self.joints.update(run_folder.SOURCES[code] for code in source[labelled].tolist())
        self.sequences.setdefault(performed.kind, set()).add((capture.subject, performed.name))
        self.std_m += float(np.nansum(frame_set.std_m[labelled]))

    def counts(self) -> dict[str, object]:
        """Return the content of `statistics.json`."""
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
    """A complete release."""

    images: int
    frame_sets: int
    faces: privacy.FacesFound
    views: Mapping[str, privacy.Sampling]
    doubts: Mapping[str, tuple[int, ...]]  # frame sets of each capture in which people's marks need a check


def write_release(
    projects: Sequence[Project],
    card: DataCard,
    out: Path,
    *,
    fps: float = 30.0,
    surfaces: SurfaceModel | None = None,
    mano: Mapping[Side, Path] | None = None,
    progress: pools.Progress = pools.Progress(),
) -> ReleaseResult:
    """Write or resume a release of five frame sets per second of recordings of `fps`.

    `surfaces`: model of hand surfaces for frame sets with all joints labelled; `mano`: files by side, for MANO's.
    """
    if out.exists():
        raise InputError(f"{out} already exists: choose another folder")
    if not fps > 0:
        raise InputError(f"--fps must be above 0, not {fps:g}")
    captures = _captures_by_name(projects, card)
    splits = split_people(captures.values())
    draft = out.with_name(f".{out.name}.part")
    settings = _check_settings(draft, projects, card, fps, surfaces)
    selected = [_select_frame_sets(project, fps) for project in projects]
    fitted = [[] if surfaces is None else _fit_surfaces(frame_sets, fps, mano) for frame_sets in selected]
    with sole_writer(draft):  # last: a refused release leaves no folder
        write_text(draft / _SETTINGS, settings)
        progress.start(sum(len(frame_sets) for frame_sets in selected))
        files = {split: SplitFiles(split) for split in SPLITS if split in splits.values()}
        views: dict[str, privacy.Sampling] = {}
        statistics, faces, doubts = Statistics(), privacy.FacesFound(), dict[str, tuple[int, ...]]()
        rows = zip(projects, captures.items(), selected, fitted, strict=True)
        for number, (project, (name, capture), frame_sets, hands) in enumerate(rows):
            rig = run_folder.labelled_rig(project)
            samplings = {camera.name: privacy.sampling_of(camera, _nearest_depth(camera, frame_sets)) for camera in rig}
            views |= {f"{name}/{view}": sampling for view, sampling in samplings.items()}
            frames = np.array([frame_set.frame for frame_set in frame_sets], np.int64)
            marks = [project.store.marks(frame_set.frame) for frame_set in frame_sets]
            if in_doubt := labelling.doubts_of_marks(rig, frames, marks):
                doubts[name] = tuple(in_doubt)
            small = CameraRig(_released_camera(camera, samplings[camera.name].size) for camera in rig)
            split_files = files[splits[capture.subject]]
            split_files.add_cameras(str(number), small)
            if surfaces is not None:
                split_files.add_surfaces(draft, str(number), hands)
            for frame_set in frame_sets:
                faces_found = _write_frame_set(draft, project, small, number, capture, split_files, frame_set)
                images = sum(not item.withheld for item in faces_found)
                statistics.add(split_files.split, capture, frame_set, images)
                faces = privacy.FacesFound(
                    *(sum(counts_by_image) for counts_by_image in zip(faces, *faces_found, strict=True))
                )
                progress.advance()
        write_text(draft / "annotations" / "skeleton.txt", skeleton_lines())
        for item in files.values():
            item.write(draft)
        counts = statistics.counts()
        data_files.write_json(draft / "statistics.json", counts, indent=1)
        write_text(draft / "README.md", card_markdown(card, counts, views, faces))
        _publish(draft, out)
        images = sum(len(item.images) for item in files.values())
        return ReleaseResult(images, statistics.frame_sets, faces, views, doubts)


def _captures_by_name(projects: Sequence[Project], card: DataCard) -> dict[str, Capture]:
    """Return the card's capture of each project by the name of its folder."""
    names = [project.folder.resolve().name for project in projects]
    if len(set(names)) < len(names):
        raise InputError(
            f"{', '.join(names)}: two projects have one name and so one capture on the card; rename a folder"
        )
    if missing := [name for name in names if name not in card.captures]:
        raise InputError(f"the card has no capture {missing[0]}: add [captures.{missing[0]}] with subject")
    return {name: card.captures[name] for name in names}


def _check_settings(
    draft: Path, projects: Sequence[Project], card: DataCard, fps: float, surfaces: SurfaceModel | None
) -> str:
    """Return the settings of a release as JSON. Check that a draft, if there is one, has the same."""
    digests = [hashlib.sha256() for _ in projects]
    for project, digest in zip(projects, digests, strict=True):
        for labels in run_folder.read_labels(project):
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
    if not has_settings(draft, _SETTINGS, text) and (draft / "annotations").exists():
        raise InputError(f"{draft}: the settings of this unfinished release are unknown; delete it")
    return text


def _select_frame_sets(project: Project, fps: float) -> list[_FrameSet]:
    """Return the labelled frame sets to release: the first in each fifth of a second."""
    frame_sets: list[_FrameSet] = []
    last = -1
    for labels in run_folder.read_labels(project):
        for row, frame in enumerate(labels.frames.tolist()):
            tick = int(frame * FPS / fps + 1e-6)
            if tick != last and (labels.source[row] > 0).any():
                last = tick
                rows = (values[row] for values in (labels.points_m, labels.source, labels.std_m, labels.seen))
                frame_sets.append(_FrameSet(frame, *rows))
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
    return RigCamera(
        camera.name, *size, replace(camera.camera, K=camera.camera.K * ratio, distortion=None, model="pinhole")
    )


def _write_frame_set(
    root: Path, project: Project, rig: CameraRig, number: int, capture: Capture, files: SplitFiles, frame_set: _FrameSet
) -> list[privacy.FacesFound]:
    """Write images and labels of one frame set, and return the faces in each readable view."""
    sequence, frame = capture.sequence_of(frame_set.frame), frame_set.frame
    note = root / _WORK_FOLDER / f"{number}-{frame}.json"
    pixels = rig.project(frame_set.points_m)
    files.add_frame_set(str(number), frame, frame_set.points_m, frame_set.source)
    images: dict[str, privacy.ReleasedImage] = {}
    if note.is_file():
        faces_by_view = {name: privacy.FacesFound(*values) for name, values in data_files.read_json(note).items()}
    else:
        images = _released_images(project, rig, frame_set, pixels)
        faces_by_view = {name: image.faces for name, image in images.items()}
    for view, camera in enumerate(rig):
        if camera.name not in faces_by_view or faces_by_view[camera.name].withheld:
            continue
        path = f"Capture{number}/{sequence.name}/cam{camera.name}/image{frame}.jpg"
        if camera.name in images:
            write_bytes(root / "images" / files.split / path, encode_image(images[camera.name].rgb, ".jpg"))
        record = {
            "width": camera.width,
            "height": camera.height,
            "capture": number,
            "subject": capture.subject,
            "seq_name": sequence.name,
            "seq_type": sequence.kind,
            "camera": camera.name,
            "frame_idx": frame,
        }
        files.add_image(path, record, pixels[view], frame_set.source, frame_set.seen[view])
    if images or not note.is_file():
        write_text(note, json_from(faces_by_view, spaced=True))
    return list(faces_by_view.values())


def _released_images(
    project: Project, small: CameraRig, frame_set: _FrameSet, pixels: FloatArray
) -> dict[str, privacy.ReleasedImage]:
    """Return the released images of a frame set with a labelled joint (C, 2, 21, 2). Unreadable ones are skipped."""
    shown: dict[str, privacy.ReleasedImage] = {}
    for camera, joints in zip(small, pixels, strict=True):
        if frame_set.frame not in project.view(camera.name).numbers or not np.isfinite(joints).any():
            continue
        try:
            rgb = project.view(camera.name).read(frame_set.frame)
        except InputError:
            continue  # the automatic annotator reported it
        size = camera.width, camera.height
        shown[camera.name] = privacy.released_image(rgb, project.rig[camera.name], size, frame_set.points_m)
    hidden = privacy.hide_faces_of_other_views(small.subset(shown), list(shown.values()), frame_set.points_m)
    return dict(zip(shown, hidden, strict=True))


def _publish(draft: Path, out: Path) -> None:
    """Write checksums, remove files for resuming, and rename the folder."""
    work, settings = draft / _WORK_FOLDER, draft / _SETTINGS
    files = (file for file in sorted(draft.rglob("*")) if file.is_file() and work not in file.parents)
    sums = ((file, sha256_of_file(file)) for file in files if file.name != _CHECKSUMS)
    lines = [f"{digest}  {file.relative_to(draft).as_posix()}\n" for file, digest in sums]
    write_text(draft / _CHECKSUMS, "".join(lines))
    with failing_as_job(out):
        for note in set(work.iterdir()) - {settings}:
            note.unlink()
        settings.unlink()  # last: until then, the draft accepts no other settings
        work.rmdir()
        draft.rename(out)
