"""Hands with objects: HO-3D, versions 2 and 3, and DexYCB.

HO-3D (Hampali et al., CVPR 2020) has right hands. Files use metres in OpenGL's axes (y up, z backward) and MANO's joint
order. Evaluation frames give only the wrist and the hand's box. Their joints and vertices were published later, in
files with a row per line of the list.

DexYCB (Chao et al., CVPR 2021, https://dex-ycb.github.io) has hands that grasp objects in front of eight cameras.
Labels are in metres in each camera's frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import BoolArray, FloatArray
from sonjit._util.data_files import read_npz
from sonjit._util.errors import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.lab.datasets.dataset import Dataset, DatasetEntry, Skipped
from sonjit.lab.datasets.reading import (
    MANO,
    camera_matrix,
    complete,
    depth_from_png,
    field,
    file_bytes,
    hand_before_camera,
    load_yaml,
    number_table,
    numbers,
    pickled_numbers,
)
from sonjit.lab.datasets.sample import Instance, ManoParameters, Sample, Side
from sonjit.lab.hand_models.pickles import plain_array, read_pickled_fields

FROM_OPENGL: Final = np.array([1.0, -1.0, -1.0])
"""Factor that converts points between OpenGL's axes and the camera's, in both directions."""

_METRES_PER_STEP = 0.00012498664727900177


class Ho3d(Dataset):
    """One split. Frames without labels are in `skipped`.

    Args:
        root: Folder with `train`, `evaluation` and their lists.
        split: `train` or `evaluation`.
        vertices: Also read `evaluation_verts.json`, 220 MB in memory, if it exists.
    """

    def __init__(self, entry: DatasetEntry, root: Path, split: str, *, vertices: bool = False) -> None:
        super().__init__(entry, root, split)
        listed = self.need(f"{split}.txt")
        self._ending = "png" if entry.name.endswith("v2") else "jpg"
        frames: list[str] = []
        for number, line in enumerate(listed.read_text("utf-8").split(), 1):
            if line.count("/") != 1:
                raise InputError(f"{listed}: line {number} is {line!r}, not SEQUENCE/FRAME")
            frames.append(line)
        if not frames or len(set(frames)) < len(frames):
            raise InputError(f"{listed}: names {'a frame twice' if frames else 'no frame'}")
        self._check_version(frames[0])
        labelled = [frame for frame in frames if self._is_labelled(frame)]
        usable = set(labelled)
        self.skipped = tuple(
            Skipped(frame, "the set gives no labels for it") for frame in frames if frame not in usable
        )
        rows = {frame: row for row, frame in enumerate(frames)}
        if split == "train":  # whose list mixes recordings; that of the evaluation is the order of submissions
            labelled.sort()
        self._frames = np.array(labelled, np.str_)
        self._rows = [rows[item] for item in labelled]
        self._joints = self._table("xyz", (21, 3), len(frames))
        self._vertices = self._table("verts", (778, 3), len(frames)) if vertices else None

    def __len__(self) -> int:
        return len(self._frames)

    def _check_version(self, name: str) -> None:
        """Refuse the other version, whose images have another ending."""
        sequence, frame = name.split("/")
        image = self.root / self.split / sequence / "rgb" / f"{frame}.{self._ending}"
        other = {"png": "jpg", "jpg": "png"}[self._ending]
        if not image.is_file() and image.with_suffix(f".{other}").is_file():
            version = {"png": 3, "jpg": 2}[self._ending]
            raise InputError(f"{self.entry.name}: {image.with_suffix(f'.{other}')} is of version {version}")

    def load(self, index: int) -> Sample:
        name = str(self._frames[index])
        sequence, frame = name.split("/")
        path = self._meta(name)
        meta = _read(path)
        camera = CalibratedCamera(_numbers(meta, "camMat", (3, 3), path))
        file = f"{self.split}/{sequence}/rgb/{frame}.{self._ending}"
        depth = self.root / f"{self.split}/{sequence}/depth/{frame}.png"
        row = self._rows[index]
        joints = None if self._joints is None else numbers(self._joints[row], (21, 3), f"{self.root}: joints of {name}")
        more: dict[str, Any] = {}
        if self._vertices is not None:
            more["vertices_m"] = self._vertices[row] * FROM_OPENGL
        return self.sample_of(
            file,
            [_hand(meta, camera, path, joints, more), *_objects(meta, path)],
            path,
            (640, 480),
            camera=camera,
            sequence=sequence,
            frame=int(frame) if frame.isdecimal() else None,
            read_depth=partial(depth_from_png, depth, _METRES_PER_STEP),
        )

    def _table(self, what: str, shape: tuple[int, ...], frames: int) -> FloatArray | None:
        """Return a file of joints or vertices as (frames, *shape), or None if it does not exist."""
        path = self.root / f"{self.split}_{what}.json"
        if not path.is_file():
            return None
        table = number_table(path, shape)
        if len(table) != frames:
            raise InputError(f"{path} has {len(table)} rows and {self.split}.txt {frames} lines: get both again")
        return table

    def _meta(self, name: str) -> Path:
        sequence, frame = name.split("/")
        return self.root / f"{self.split}/{sequence}/meta/{frame}.pkl"

    def _is_labelled(self, name: str) -> bool:
        """Return False only for frames whose file states it. A damaged file raises an error on access."""
        try:
            meta = _read(self._meta(name))
        except InputError:
            return True
        return meta.get("objRot", 0) is not None and meta.get("handJoints3D", 0) is not None


def _hand(
    meta: Mapping[str, Any], camera: CalibratedCamera, path: Path, published: FloatArray | None, more: dict[str, Any]
) -> Instance:
    stored = plain_array(field(meta, "handJoints3D", str(path)))
    joints = np.full((21, 3), np.nan)
    if published is not None:
        joints = published[list(MANO)]
    elif stored.shape == (3,):
        joints[0] = numbers(stored, (3,), f"{path}: handJoints3D")
    else:
        joints = numbers(stored, (21, 3), f"{path}: handJoints3D")[list(MANO)]
    if "handBoundingBox" in meta:
        more["box"] = tuple(_numbers(meta, "handBoundingBox", (4,), path).tolist())
    if meta.get("handPose") is not None:
        pose, betas, translation = (
            _numbers(meta, name, (size,), path) for name, size in (("handPose", 48), ("handBeta", 10), ("handTrans", 3))
        )
        more["mesh"] = ManoParameters(pose, betas, translation, "opengl", flat_mean=True)
    return hand_before_camera(joints * FROM_OPENGL, camera, "Right", valid=complete(joints), **more)


def _objects(meta: Mapping[str, Any], path: Path) -> tuple[Instance, ...]:
    """Return the grasped object: pose in OpenGL's axes as in the file, box corners in the camera's frame."""
    if meta.get("objName") is None:
        return ()
    turn = _numbers({**meta, "objRot": plain_array(field(meta, "objRot", str(path))).ravel()}, "objRot", (3,), path)
    translation = _numbers(meta, "objTrans", (3,), path)
    label = meta.get("objLabel")
    more: dict[str, Any] = {}
    if meta.get("objCorners3D") is not None:
        more["corners_m"] = _numbers(meta, "objCorners3D", (8, 3), path) * FROM_OPENGL
    return (
        Instance(
            kind="object",
            category=str(meta["objName"]),
            category_id=int(label) if isinstance(label, int) else None,
            extra={"rotation_vector_opengl_rad": turn, "translation_opengl_m": translation, "grasped": True, **more},
        ),
    )


def _read(path: Path) -> Mapping[str, Any]:
    content = file_bytes(path)
    try:
        return read_pickled_fields(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _numbers(meta: Mapping[str, Any], name: str, shape: tuple[int, ...], path: Path) -> FloatArray:
    return pickled_numbers(field(meta, name, str(path)), shape, f"{path}: {name}")


_SEQUENCES = 100  # of each subject
_HAND_IN_MASK = 255
_SIDES: dict[str, Side] = {"right": "Right", "left": "Left"}


class _Sequence(NamedTuple):
    """One recording."""

    folder: str
    frames: int
    cameras: tuple[str, ...]
    sides: tuple[str, ...]
    betas: tuple[str, ...]
    objects: tuple[int, ...]
    grasped: int


class DexYcb(Dataset):
    """One split: every frame of every camera. A sample without a visible hand has no instances.

    Args:
        root: Folder with the subjects' folders and `calibration`.
        split: `all`, or a setup with train, val or test, such as s0-test. Its test set has nothing new (s0), new people
            (s1), new cameras (s2) or new objects (s3). Splits count a subject's hundred sequences by name, so that all
            of them are required.
        visible: Also read from the segmentation which keypoints an object hides, 2 ms per image.
    """

    def __init__(self, entry: DatasetEntry, root: Path, split: str, *, visible: bool = False) -> None:
        super().__init__(entry, root, split)
        self._reads_visible = visible
        self.need("calibration")
        subjects = sorted(path for path in root.glob("*-subject-*") if path.is_dir())
        if not subjects:
            self.need("20200709-subject-01")
        setup, _, part = split.partition("-")
        self._sequences: list[_Sequence] = []
        self._rows: list[tuple[int, int]] = []  # sequence and camera
        for subject in subjects:
            person = int(subject.name.rpartition("-")[2]) - 1
            folders = sorted(path.parent for path in subject.glob("*/meta.yml"))
            if split != "all" and len(folders) != _SEQUENCES:
                raise InputError(
                    f"{entry.name}: the split {split} counts a subject's {_SEQUENCES} sequences and {subject} has "
                    f"{len(folders)}; get the rest from {entry.where}, or use the split all"
                )
            for number, folder in enumerate(folders):
                if split != "all" and setup != "s2" and _part(setup, person, number) != part:
                    continue
                sequence = _sequence(folder, root)
                cameras = range(len(sequence.cameras))
                self._rows += [
                    (len(self._sequences), camera)
                    for camera in cameras
                    if setup != "s2" or _part(setup, person, camera) == part
                ]
                self._sequences.append(sequence)
        if not self._rows:
            raise InputError(f"{entry.name}: no sequence in {root} belongs to the split {split}")
        self._ends = np.cumsum([self._sequences[sequence].frames for sequence, _ in self._rows])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def load(self, index: int) -> Sample:
        row = int(np.searchsorted(self._ends, index, side="right"))
        frame = index - (int(self._ends[row - 1]) if row else 0)
        number, view = self._rows[row]
        sequence = self._sequences[number]
        serial = sequence.cameras[view]
        path = self.root / f"{sequence.folder}/{serial}/labels_{frame:06d}.npz"
        camera = CalibratedCamera(_intrinsics(self.root / f"calibration/intrinsics/{serial}_640x480.yml"))
        labels = _labels(path)
        name = f"{sequence.folder}/{serial}/color_{frame:06d}.jpg"
        return self.sample_of(
            name,
            [*self._hands(sequence, labels, camera, path), *_dexycb_objects(sequence, labels, path)],
            path,
            (640, 480),
            camera=camera,
            subject=sequence.folder.partition("/")[0],
            sequence=sequence.folder,
            frame=frame,
            view=serial,
        )

    def _hands(
        self, sequence: _Sequence, labels: dict[str, NDArray[Any]], camera: CalibratedCamera, path: Path
    ) -> list[Instance]:
        count = len(sequence.sides)
        joints = numbers(field(labels, "joint_3d", str(path)), (count, 21, 3), f"{path}: joint_3d")
        poses = numbers(field(labels, "pose_m", str(path)), (count, 51), f"{path}: pose_m")
        keypoints = labels.get("joint_2d")
        if keypoints is not None:
            keypoints = numbers(keypoints, (count, 21, 2), f"{path}: joint_2d")
        hands: list[Instance] = []
        labelled = _segmentation(path) if self._reads_visible and "seg" in labels else None
        for number, side in enumerate(sequence.sides):
            if (joints[number] == -1).all():
                continue
            more: dict[str, Any] = {}
            if labelled is not None:
                pixels = camera.project(joints[number]) if keypoints is None else keypoints[number]
                height, width = labelled.shape
                columns, rows = np.floor(np.nan_to_num(pixels, nan=-1.0) + 0.5).astype(np.int64).T
                inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
                labels_at = labelled[rows.clip(0, height - 1), columns.clip(0, width - 1)]
                more["visible"] = np.asarray(inside & ~np.isin(labels_at, sequence.objects), np.bool_)
            betas = _betas(self.root / f"calibration/mano_{sequence.betas[number]}/mano.yml")
            pose = poses[number]
            hands.append(
                hand_before_camera(
                    joints[number],
                    camera,
                    _SIDES[side],
                    keypoints_px=None if keypoints is None else keypoints[number],
                    mesh=ManoParameters(
                        pose[:48], betas, pose[48:], "camera", pca=True, flat_mean=False, left_shapes="distributed"
                    ),
                    read_mask=partial(_mask, path, _HAND_IN_MASK) if "seg" in labels else None,
                    **more,
                )
            )
        return hands


def _part(setup: str, person: int, number: int) -> str:
    """Return the part of a setup that a sequence (for s2 a camera) belongs to; numbers count from 0."""
    match setup:
        case "s0":
            is_held_out = number % 5 == 4
            return ("val" if person < 2 else "test") if is_held_out else "train"
        case "s1":
            return {6: "val", 7: "test", 8: "test"}.get(person, "train")
        case "s2":
            return {6: "val", 7: "test"}.get(number, "train")
        case _:
            return {3: "val", 19: "val", 7: "test", 11: "test", 15: "test"}.get(number // 5, "train")


def _sequence(folder: Path, root: Path) -> _Sequence:
    path = folder / "meta.yml"
    meta, named = load_yaml(path), str(path)
    found = sorted(item.name for item in folder.iterdir() if item.is_dir())
    cameras = _text_list(meta, "serials", named) if meta.get("serials") else found
    sides, betas = _text_list(meta, "mano_sides", named), _text_list(meta, "mano_calib", named)
    frames = field(meta, "num_frames", named)
    if not isinstance(frames, int) or frames < 1:
        raise InputError(f"{path}: num_frames is {frames!r}, not a number of frames")
    if len(betas) != len(sides) or not set(sides) <= set(_SIDES):
        raise InputError(f"{path}: mano_sides are {sides} and mano_calib {betas}; one of each for every hand")
    return _Sequence(
        folder=folder.relative_to(root).as_posix(),
        frames=frames,
        cameras=tuple(cameras),
        sides=tuple(sides),
        betas=tuple(betas),
        objects=tuple(numbers(field(meta, "ycb_ids", named), (-1,), f"{path}: ycb_ids").astype(int).tolist()),
        grasped=int(numbers(field(meta, "ycb_grasp_ind", named), (), f"{path}: ycb_grasp_ind")),
    )


def _text_list(meta: dict[Any, Any], name: str, named: str) -> list[str]:
    value = field(meta, name, named)
    if not isinstance(value, list):
        raise InputError(f"{named}: {name} is not a list: {str(value)[:60]}")
    return [str(item) for item in value]


def _dexycb_objects(sequence: _Sequence, labels: dict[str, NDArray[Any]], path: Path) -> list[Instance]:
    count = len(sequence.objects)
    poses = numbers(field(labels, "pose_y", str(path)), (count, 3, 4), f"{path}: pose_y")
    return [
        Instance(
            kind="object",
            category_id=number,
            extra={"pose_m": poses[index], "grasped": index == sequence.grasped},
            read_mask=partial(_mask, path, number) if "seg" in labels else None,
        )
        for index, number in enumerate(sequence.objects)
    ]


def _labels(path: Path) -> dict[str, NDArray[Any]]:
    """Return all labels except the mask, which takes longest to unpack."""
    try:
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return {name: np.zeros(0) if name == "seg" else file[name] for name in file.files}
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, BadZipFile) as error:
        raise InputError(f"{path} is damaged: {error}; get it again") from None


def _mask(path: Path, value: int) -> BoolArray:
    return np.asarray(_segmentation(path) == value, np.bool_)


def _segmentation(path: Path) -> NDArray[np.uint8]:
    """Return the mask (H, W): an object's number, 255 for the hand, 0 for neither."""
    return np.asarray(read_npz(path, accepts=lambda name: name == "seg")["seg"], np.uint8)


@cache
def _intrinsics(path: Path) -> FloatArray:
    colour = field(load_yaml(path), "color", str(path))
    fx, fy, cx, cy = (
        float(numbers(field(colour, name, f"{path}: color"), (), f"{path}: color.{name}"))
        for name in ("fx", "fy", "ppx", "ppy")
    )
    return camera_matrix((fx, fy), (cx, cy))


@cache
def _betas(path: Path) -> FloatArray:
    return numbers(field(load_yaml(path), "betas", str(path)), (10,), f"{path}: betas")
