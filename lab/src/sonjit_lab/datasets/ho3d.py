"""Read HO-3D, hands with objects."""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sonjit._util import FloatArray, InputError, records
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media.sources.images import read_bytes
from sonjit_lab.datasets import reading
from sonjit_lab.datasets.dataset import Dataset, DatasetEntry, Identity, Skipped, read_lines
from sonjit_lab.datasets.hands_3d import FROM_OPENGL
from sonjit_lab.datasets.sample import Instance, ManoParameters, Sample
from sonjit_lab.hand_models.pickles import plain_array, read_pickled_mapping

_HO3D_METRES_PER_STEP = 0.00012498664727900177


class Ho3d(Dataset):
    """One split, `train` or `evaluation`. Frames without labels are in `skipped`.

    `vertices`: also read `evaluation_verts.json`, 220 MB in memory, if it exists.
    """

    def __init__(self, entry: DatasetEntry, root: Path, split: str, *, vertices: bool = False) -> None:
        super().__init__(entry, root, split)
        listed = self.need(f"{split}.txt")
        self._ending = "png" if entry.name.endswith("v2") else "jpg"
        frames: list[str] = []
        for number, line in enumerate(map(str.strip, read_lines(listed)), 1):
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

    def _file(self, index: int) -> tuple[str, str, str, str]:
        """Return the name in the list, its sequence, its frame, and the image's name below the root."""
        name = str(self._frames[index])
        sequence, frame = name.split("/")
        return name, sequence, frame, f"{self.split}/{sequence}/rgb/{frame}.{self._ending}"

    def identity(self, index: int) -> Identity:
        """Return the identity. ABF10 to ABF14 are one recording before five cameras."""
        _, sequence, _, file = self._file(index)
        recording = re.sub(r"(?<=\d)\d$", "", sequence)
        return Identity(file, None, recording, self.root / file, self.entry.name)

    def load(self, index: int) -> Sample:
        name, sequence, frame, file = self._file(index)
        path = self._meta(name)
        meta = read(path)
        camera = CalibratedCamera(_numbers(meta, "camMat", (3, 3), path))
        depth = self.root / f"{self.split}/{sequence}/depth/{frame}.png"
        row = self._rows[index]
        joints = None if self._joints is None else self._joints[row]
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
            read_depth=partial(reading.depth_from_png, depth, _HO3D_METRES_PER_STEP),
        )

    def _table(self, what: str, shape: tuple[int, ...], frames: int) -> FloatArray | None:
        """Return a file of joints or vertices as (frames, *shape), or None if it does not exist."""
        path = self.root / f"{self.split}_{what}.json"
        if not path.is_file():
            return None
        table = reading.number_table(path, shape)
        if len(table) != frames:
            raise InputError(f"{path} has {len(table)} rows and {self.split}.txt {frames} lines: get both again")
        return table

    def _meta(self, name: str) -> Path:
        return self.root / self.split / f"{name.replace('/', '/meta/')}.pkl"

    def _is_labelled(self, name: str) -> bool:
        """Return False only for frames whose file states it. A damaged file raises an error on access."""
        try:
            meta = read(self._meta(name))
        except InputError:
            return True
        return meta.get("objRot", 0) is not None and meta.get("handJoints3D", 0) is not None


def _hand(
    meta: Mapping[str, Any], camera: CalibratedCamera, path: Path, published: FloatArray | None, more: dict[str, Any]
) -> Instance:
    stored = plain_array(records.field(meta, "handJoints3D", str(path)))
    joints = np.full((21, 3), np.nan)
    if published is not None:
        joints = published[list(reading.MANO)]
    elif stored.shape == (3,):
        joints[0] = records.numbers(stored, (3,), f"{path}: handJoints3D")
    else:
        joints = records.numbers(stored, (21, 3), f"{path}: handJoints3D")[list(reading.MANO)]
    if "handBoundingBox" in meta:
        more["box"] = tuple(_numbers(meta, "handBoundingBox", (4,), path).tolist())
    if meta.get("handPose") is not None:
        pose, betas, translation = (
            _numbers(meta, name, (size,), path) for name, size in (("handPose", 48), ("handBeta", 10), ("handTrans", 3))
        )
        more["mesh"] = ManoParameters(pose, betas, translation, "opengl", flat_mean=True)
    return reading.hand_before_camera(joints * FROM_OPENGL, camera, "Right", valid=reading.complete(joints), **more)


def _objects(meta: Mapping[str, Any], path: Path) -> tuple[Instance, ...]:
    """Return the grasped object: pose in OpenGL's axes as in the file, box corners in the camera's frame."""
    if meta.get("objName") is None:
        return ()
    rotation = plain_array(records.field(meta, "objRot", str(path))).ravel()
    label = meta.get("objLabel")
    extra = {
        "rotation_vector_opengl_rad": records.numbers(rotation, (3,), f"{path}: objRot"),
        "translation_opengl_m": _numbers(meta, "objTrans", (3,), path),
        "grasped": True,
    }
    if meta.get("objCorners3D") is not None:
        extra["corners_m"] = _numbers(meta, "objCorners3D", (8, 3), path) * FROM_OPENGL
    return (
        Instance(
            kind="object",
            category=str(meta["objName"]),
            category_id=int(label) if isinstance(label, int) else None,
            extra=extra,
        ),
    )


def read(path: Path) -> dict[Any, Any]:
    return read_pickled_mapping(read_bytes(path), str(path))


def _numbers(meta: Mapping[str, Any], name: str, shape: tuple[int, ...], path: Path) -> FloatArray:
    return reading.pickled_numbers(records.field(meta, name, str(path)), shape, f"{path}: {name}")
