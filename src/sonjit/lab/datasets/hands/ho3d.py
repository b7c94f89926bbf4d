"""HO-3D, versions 2 and 3: right hands with objects.

Source: Hampali et al., CVPR 2020. Files use metres in OpenGL's axes (y up, z backward) and MANO's joint order.
Evaluation frames give only the wrist and the hand's box. Their joints and vertices were published later, in files with
a row per line of the list.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.errors import InputError
from sonjit._util.pickles import plain_array, read_pickled_fields
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.lab.datasets.dataset import Dataset, DatasetEntry, Skipped
from sonjit.lab.datasets.joint_orders import MANO, complete, hand_before_camera
from sonjit.lab.datasets.reading import depth_from_png, field, file_bytes, number_table, numbers, pickled_numbers
from sonjit.lab.datasets.sample import Instance, ManoParameters, Sample

FROM_OPENGL: Final = np.array([1.0, -1.0, -1.0])
"""Factor that converts points between OpenGL's axes and the camera's, in both directions."""

_METRES_PER_STEP = 0.00012498664727900177


class Ho3d(Dataset):
    """One split. Frames without labels are in `skipped`.

    Args:
        entry: Record of the set.
        root: Folder with `train`, `evaluation` and their lists.
        split: `train` or `evaluation`.
        vertices: Also read `evaluation_verts.json`, 220 MB in memory, if it exists.

    Raises:
        InputError: A file is missing or damaged.
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
        if not frames:
            raise InputError(f"{listed}: names no frame")
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
        """Return one frame. A wrong record is an InputError with file and field."""
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
